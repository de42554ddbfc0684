"use strict";

const PAGE = 20; // texts that are drawn at once
const PRINTED = 500;

const byId = (id) => document.getElementById(id);
const lines = (id) => byId(id).textContent.split("\n").filter(Boolean).map((line) => JSON.parse(line));

const rows = lines("rows");
const examples = new Map(lines("examples").map((example) => [example.id, example]));

/** An element with children. Strings become text, never markup. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// Types, the most frequent first. Neighbors differ in hue by the golden angle.
const counts = new Map();
for (const row of rows) for (const entity of row.entities) counts.set(entity.type, (counts.get(entity.type) ?? 0) + 1);
const types = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
const hues = new Map(types.map((type, i) => [type, Math.round(210 + i * 137.5) % 360]));

function colored(element, type) {
  element.style.setProperty("--hue", hues.get(type) ?? 0);
  return element;
}

// What is listed

const chosen = new Set(types);
let least = 0;
let wanted = null; // the search as a regular expression
let listed = rows.map((_, i) => i);
let at = 0; // place in `listed`

const isShown = (entity) => chosen.has(entity.type) && (entity.score === null || entity.score >= least);
const name = (i) => String(rows[i].id ?? `text ${i + 1}`);
const failed = (row) => Boolean(row.error || row.unparsed.length);
const SELECTIONS = {
  all: () => true,
  found: (row) => row.entities.some(isShown),
  empty: (row) => !row.error && !row.entities.some(isShown),
  apart: (row) => row.unaligned.length + row.copied.length > 0,
  failed,
  long: (row) => row.windows.length > 1,
};

function has(text) {
  wanted.lastIndex = 0;
  return wanted.test(text);
}

function filter() {
  const current = listed[at];
  least = Number(byId("score").value);
  byId("least").textContent = least.toFixed(2);
  const query = byId("search").value;
  wanted = query ? new RegExp(query.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "giu") : null;
  const fits = SELECTIONS[byId("which").value];
  listed = [...rows.keys()].filter((i) => fits(rows[i]) && (!wanted || has(rows[i].text) || has(name(i))));
  at = Math.max(listed.indexOf(current), 0);
  draw();
}

// Texts with their mentions

/** A function from Python's offsets (code points) to JavaScript's (UTF-16). */
function offsets(text) {
  if (!/[\ud800-\udfff]/.test(text)) return (offset) => offset;
  const places = [0];
  for (const character of text) places.push(places.at(-1) + character.length);
  return (offset) => places[offset];
}

const TURNS = "(?<turn>[\\u202a-\\u202e\\u2066-\\u2069])"; // shown by name, as they would turn the reading order

const byPlace = (a, b) => a.start - b.start || b.end - a.end;

/** Append a text to an element. `entities` may nest and cross; `borders` are [place, words]. Hits of the search are outlined. */
function write(parent, text, entities, borders = []) {
  const utf16 = offsets(text);
  const queue = entities.map((entity) => ({ entity, start: utf16(entity.start), end: utf16(entity.end) }));
  queue.sort(byPlace);
  const points = borders.map(([place, words]) => ({ start: utf16(place), end: utf16(place), words }));
  for (const found of text.matchAll(new RegExp(wanted ? `${TURNS}|${wanted.source}` : TURNS, "giu"))) {
    const turn = found.groups.turn;
    const words = turn && `U+${turn.charCodeAt(0).toString(16).toUpperCase()}`;
    points.push({ start: found.index, end: found.index + found[0].length, words });
  }
  points.sort((a, b) => a.start - b.start);
  const open = [{ element: parent, end: text.length, levels: 0 }];
  let place = 0;
  let point = 0;

  // Append the text up to a place, with the points in it; a hit that goes on behind the place is cut there.
  const advance = (end) => {
    const { element } = open.at(-1);
    while (point < points.length && (points[point].start < end || points[point].end <= end)) {
      const { start, end: last, words } = points[point];
      if (start > place) element.append(text.slice(place, start));
      place = Math.max(place, start);
      if (words) element.append(make("span", { class: "border" }, words));
      else element.append(make("span", { class: "hit" }, text.slice(place, Math.min(last, end))));
      if (last > end) {
        place = end;
        return;
      }
      place = Math.max(place, last);
      point++;
    }
    if (end > place) element.append(text.slice(place, end));
    place = end;
  };
  const close = () => {
    const { element, end, levels, entity } = open.at(-1);
    advance(end);
    open.pop();
    if (entity) element.append(make("bdi", { class: "type" }, label(entity)));
    element.style.setProperty("--levels", levels);
    open.at(-1).levels = Math.max(open.at(-1).levels, levels + 1);
  };

  for (let i = 0; i < queue.length; i++) {
    const { entity, start, end } = queue[i];
    while (open.length > 1 && open.at(-1).end <= start) close();
    advance(start);
    const border = Math.min(end, open.at(-1).end);
    if (border < end) { // it crosses the mention around it, and continues behind that
      const rest = { entity, start: border, end };
      let next = i + 1;
      while (next < queue.length && byPlace(queue[next], rest) < 0) next++;
      queue.splice(next, 0, rest);
    }
    const element = colored(make("mark", { title: about(entity) }), entity.type);
    open.at(-1).element.append(element);
    open.push({ element, end: border, levels: 0, entity: border < end ? null : entity });
  }
  while (open.length > 1) close();
  advance(text.length);
  return parent;
}

const score = (value) => (typeof value === "number" ? value.toFixed(2) : "–");
const label = (entity) => entity.label ?? entity.type; // more words, where types are kinds of errors
const about = (entity) => `${label(entity)}, score ${score(entity.score)}, characters ${entity.start} to ${entity.end}`;
const number = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;

function card(i) {
  const row = rows[i];
  const shown = row.entities.filter(isShown);
  const hidden = row.entities.length - shown.length;
  const windows = row.windows.length;
  const facts = [number(shown.length, "mention"), hidden ? `${hidden} filtered out` : "", windows > 1 ? `${windows} windows` : ""];
  const borders = row.windows.flatMap(([start, end], w) => [[start, `window ${w + 1} starts`], [end, `window ${w + 1} ends`]]);
  borders.sort((a, b) => a[0] - b[0]);
  return make(
    "li",
    { class: "card", "data-row": i },
    make("h2", {}, make("bdi", {}, name(i)), make("small", {}, facts.filter(Boolean).join(" · "))),
    row.error ? make("p", { class: "bad" }, `Error: ${row.error}`) : null,
    write(make("div", { class: "passage", dir: "auto" }), row.text, shown, borders.slice(1, -1)),
    apart("Not in the text", row.unaligned),
    apart("Copied from an example", row.copied),
    row.unparsed.length ? make("p", { class: "bad" }, `Answers that could not be parsed, by type: ${row.unparsed.join(", ")}`) : null,
    shown.length ? details(number(shown.length, "mention"), () => mentions(shown)) : null,
    row.examples_used.length ? details(`${number(row.examples_used.length, "example")} shown to the model`, () => used(row)) : null,
  );
}

/** Mentions that have no place in the text. */
function apart(title, found) {
  if (!found.length) return null;
  const parts = found.flatMap(({ text, type }, i) => [i ? ", " : "", make("bdi", {}, text), " ", make("bdi", { class: "quiet" }, `(${type})`)]);
  return make("p", { class: "apart" }, make("b", {}, `${title}: `), ...parts);
}

/** A part that is filled when it is opened. */
function details(title, fill) {
  const element = make("details", {}, make("summary", {}, title));
  element.open_now = () => {
    if (element.children.length === 1) element.append(fill());
    element.open = true;
  };
  element.addEventListener("toggle", () => element.open && element.open_now());
  return element;
}

function mentions(shown) {
  const head = ["type", "mention", "score", "from", "to", "alignment"].map((title) => make("th", { scope: "col" }, title));
  const body = shown.map((entity) => {
    const type = colored(make("bdi", { class: "swatch" }, label(entity)), entity.type);
    const numbers = [score(entity.score), entity.start, entity.end].map((cell) => make("td", { class: "number" }, String(cell)));
    return make("tr", {}, make("td", {}, type), make("td", {}, make("bdi", {}, entity.text)), ...numbers, make("td", {}, entity.alignment ?? ""));
  });
  return make("div", { class: "scroll" }, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)));
}

/** The examples that were shown for a text. */
function used(row) {
  const parts = row.examples_used.map(({ id, score: similarity, window }) => {
    const forWindow = row.windows.length > 1 ? `, for window ${window + 1}` : "";
    const head = [make("b", {}, make("bdi", {}, id)), ` score ${similarity}${forWindow}`];
    const { text, entities } = examples.get(id);
    const placed = entities.filter((entity) => entity.start !== null);
    return make("div", { class: "example" }, ...head, write(make("div", { class: "passage", dir: "auto" }), text, placed));
  });
  return make("div", {}, ...parts);
}

// Drawing

let drawn = 0; // the first place in `listed` whose card is drawn

function draw() {
  drawn = Math.floor(at / PAGE) * PAGE;
  byId("texts").replaceChildren(...listed.slice(drawn, drawn + PAGE).map(card));
  const inAll = listed.length === rows.length ? "" : ` (${rows.length.toLocaleString("en")} in all)`;
  byId("count").textContent = listed.length ? `of ${listed.length.toLocaleString("en")}${inAll}` : `No text fits${inAll}`;
  point();
}

/** Show which text is the current one. */
function point() {
  const cards = byId("texts").children;
  for (const element of cards) element.removeAttribute("aria-current");
  cards[at - drawn]?.setAttribute("aria-current", "true");
  byId("at").max = Math.max(listed.length, 1);
  byId("at").value = listed.length ? at + 1 : "";
  byId("at").disabled = !listed.length;
  byId("previous").disabled = at === 0;
  byId("next").disabled = at >= listed.length - 1;
}

function go(place) {
  if (!listed.length || Number.isNaN(place)) return point();
  at = Math.min(Math.max(place, 0), listed.length - 1);
  if (at < drawn || at >= drawn + PAGE) draw();
  else point();
  byId("texts").children[at - drawn].scrollIntoView({ block: "nearest" });
}

// Controls

for (const type of types) {
  const box = make("input", { type: "checkbox" });
  box.checked = true;
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(type);
    else chosen.delete(type);
    filter();
  });
  const words = colored(make("span", { class: "name" }, make("bdi", { class: "swatch" }, type)), type);
  byId("types").append(make("label", {}, box, words, make("small", {}, counts.get(type).toLocaleString("en"))));
}
for (const [id, checked] of [["all_types", true], ["no_types", false]]) {
  byId(id).addEventListener("click", () => {
    for (const box of byId("types").querySelectorAll("input")) box.checked = checked;
    chosen.clear();
    if (checked) types.forEach((type) => chosen.add(type));
    filter();
  });
}
for (const id of ["search", "score"]) byId(id).addEventListener("input", filter);
byId("which").addEventListener("change", filter);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("theme").addEventListener("change", () => document.documentElement.style.setProperty("color-scheme", byId("theme").value));
byId("previous").addEventListener("click", () => go(at - 1));
byId("next").addEventListener("click", () => go(at + 1));
byId("at").addEventListener("change", () => go(Math.round(byId("at").valueAsNumber) - 1));
byId("texts").addEventListener("click", (event) => {
  const element = event.target.closest(".card");
  if (!element) return;
  at = listed.indexOf(Number(element.dataset.row));
  point();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  const action = { j: () => go(at + 1), k: () => go(at - 1), "/": () => byId("search").focus() }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
window.addEventListener("beforeprint", () => {
  const cards = listed.slice(0, PRINTED).map(card);
  cards.flatMap((element) => [...element.querySelectorAll("details")]).forEach((part) => part.open_now());
  if (listed.length > PRINTED) cards.push(make("li", {}, `The first ${PRINTED} of ${listed.length} texts: filter to print others.`));
  byId("texts").replaceChildren(...cards);
});
window.addEventListener("afterprint", draw);

draw();
