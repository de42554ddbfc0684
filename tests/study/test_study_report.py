"""The report of a study: tables, figures and results.csv, missing cells, limits, and escaping of hostile names."""

import base64
import csv
import json
import re
from pathlib import Path

import pytest
from html_pages import HOSTILE, Page
from matplotlib.image import imread
from study_cells import make_cell, write_evaluation

from ra_ner.output_folder import new_folder
from ra_ner.study import report
from ra_ner.study.grid import Cell

AXES = {"dataset.strategy": ["none", "nn"], "evaluate.settings": ["zero_shot", "in_domain-nn"]}
CELLS = [make_cell(strategy, seed) for seed in (42, 43) for strategy in ("none", "nn")]
FINISHED = CELLS[:3]
COSTS = {cell.name: {"train_tokens": 51234, "train_seconds": 600.4} for cell in FINISHED}


def read(folder: Path) -> tuple[str, str, list[dict]]:
    """report.md, report.html and the rows of results.csv."""
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return *((folder / f"report.{form}").read_text(encoding="utf-8") for form in ("md", "html")), rows


def section(page: str, title: str) -> list[list[str]]:
    """The rows of one table in Markdown."""
    lines = page.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()
    return [re.split(r" ?\| ?", line)[1:-1] for line in lines if line.startswith("|")][2:]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A study of two seeds and four cells, one of which is not evaluated."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for cell in FINISHED:
            skill = 0.4 if cell.is_vanilla else 0.8
            write_evaluation(cell.output_dir / "evaluation", cell.seed, skill)
        report.write(Path("outputs/mine"), CELLS, COSTS, AXES)
    return folder / "outputs" / "mine"


def test_f1_of_every_group_setting_and_benchmark_is_shown_with_the_mean(written):
    page, _, rows = read(written)
    table = section(page, "Span F1")
    assert [row[:2] for row in table] == [[s, t] for s in ("none", "nn") for t in ("zero_shot", "in_domain-nn")]
    assert [row[-1] for row in table] == ["2", "2", "1", "1"], "seeds"
    for row in table:
        for column, benchmark in ((2, "politics"), (3, "movie")):
            f1 = [
                float(r["span_f1"])
                for r in rows
                if [r["dataset.strategy"], r["setting"], r["benchmark"]] == [*row[:2], benchmark]
            ]
            assert row[column].startswith(f"{100 * sum(f1) / len(f1):.1f} (")
        middle, politics, movie = (float(row[column].split()[0]) for column in (4, 2, 3))
        assert middle == pytest.approx((politics + movie) / 2, abs=0.11)


def test_differences_are_shown_to_vanilla_and_to_zero_shot(written):
    page = read(written)[0]
    table = section(page, "Difference to vanilla, span F1")
    assert [row[:2] for row in table] == [["nn", "zero_shot"], ["nn", "in_domain-nn"]]
    assert all(re.fullmatch(r"\+\d+\.\d \(\+\d.*, \+\d.*\) p 0\.0\d\d", row[4]) for row in table)
    table = section(page, "Difference to zero-shot, uniner F1")
    assert [row[:2] for row in table] == [["none", "in_domain-nn"], ["nn", "in_domain-nn"]]


def test_cells_with_examples_are_compared_with_one_another(tmp_path, monkeypatch):
    """As `nn` with examples in half of the rows, and in all of them."""
    monkeypatch.chdir(tmp_path)
    skills = {"none": 0.4, "nn": 0.8, "random": 0.3}
    cells = [make_cell(strategy, seed) for seed in (42, 43) for strategy in skills]
    for cell in cells:
        write_evaluation(cell.output_dir / "evaluation", cell.seed, skills[cell.values["dataset.strategy"]])
    report.write(Path("outputs/mine"), cells, {}, {**AXES, "dataset.strategy": list(skills)})
    page, _, rows = read(Path("outputs/mine"))
    table = section(page, "Differences between cells")
    assert [row[:3] for row in table] == [["random", "nn", "zero_shot"], ["random", "nn", "in_domain-nn"]]
    assert all(row[-1] == "2" for row in table), "seeds"
    f1 = {
        strategy: [
            float(row["span_f1"])
            for row in rows
            if (row["dataset.strategy"], row["setting"]) == (strategy, "zero_shot")
        ]
        for strategy in skills
    }
    expected = 100 * (sum(f1["random"]) - sum(f1["nn"])) / 4
    assert float(table[0][3].split()[0]) == pytest.approx(expected, abs=0.06) and expected < -20


def test_missing_cells_and_the_limits_of_the_study_are_stated(written):
    for page in read(written)[:2]:
        text = Page(page).content
        assert "3 of 4 cells are evaluated. Missing: grid-en-nn-seed43." in text
        # 2 rows x 3 scores against vanilla and 2 x 3 against zero-shot, each on two benchmarks and their mean
        assert "Seeds per cell: 1 to 2. Passages per benchmark: 12." in text and "36 differences are tested" in text
        assert "about 2 would have p below 0.05 by chance" in text
    assert "(sample)" not in page


def test_csv_has_a_row_for_each_cell_benchmark_and_setting(written):
    rows = read(written)[2]
    assert len(rows) == 3 * 2 * 2
    first = rows[0]
    assert [first[key] for key in ("cell", "base", "dataset.strategy", "seed", "benchmark", "setting")] == [
        *("grid-en-none-seed42", "en", "none", "42", "politics", "zero_shot")
    ]
    for key in (
        "span_precision",
        "span_recall",
        "span_f1",
        "grounded_f1",
        "uniner_f1",
        "span_tp",
        "boundary_fp",
        "missed_fn",
    ):
        assert float(first[key]) >= 0
    assert (first["passages"], first["queries"]) == ("12", "24") and int(first["mentions"]) > 0
    assert (first["train_tokens"], first["train_seconds"], first["build_seconds"]) == ("51234", "600.4", "")
    assert {row["copied"] != "0" for row in rows if row["setting"] == "in_domain-nn"} == {True}
    assert {row["copied"] for row in rows if row["setting"] == "zero_shot"} == {"0"}


def test_errors_are_compared_with_vanilla_by_benchmark_length_and_best_example(written):
    page, html, rows = read(written)
    seen = section(page, "Errors")
    assert not any("(" in value for row in seen if row[0] == "none" for value in row[3:])
    row = next(row for row in seen if row[:3] == ["nn", "zero_shot", "politics"])
    missed = {
        r["dataset.strategy"]: int(r["missed_fn"])
        for r in rows
        if (r["seed"], r["benchmark"], r["setting"]) == ("42", "politics", "zero_shot")
    }
    assert row[5] == f"{missed['nn']:.1f} ({missed['nn'] - missed['none']:+.1f})"
    assert len(section(page, "Errors by the length of the text")) > 8
    by_best = section(page, "Errors by the score of the best example")
    assert len(by_best) == 8 and {row[1] for row in by_best} == {"in_domain-nn"}
    assert "<h2>Errors by type</h2>" in html and "<td>person</td>" in html


def test_answers_and_costs_are_shown(written):
    page = read(written)[0]
    copied = {(row[0], row[1]): float(row[6]) for row in section(page, "Answers")}
    assert copied["nn", "zero_shot"] == 0 < copied["nn", "in_domain-nn"]
    costs = section(page, "Costs")
    assert costs[0] == ["grid-en-none-seed42", "51,234", "–", "600", "–"]
    assert costs[3][1:] == ["–"] * 4 and costs[4][:2] == ["all", "153,702"]


def test_figures_have_data_and_are_embedded_in_html(written):
    page, html, _ = read(written)
    names = re.findall(r"!\[.*?\]\(figures/(.*?)\)", page)
    assert names == ["span_f1_by_dataset.strategy.png", "span_f1_by_the_score_of_the_best_example.png"]
    for name in names:
        pixels = imread(written / "figures" / name)[..., :3]
        colourful = (pixels.max(axis=2) - pixels.min(axis=2) > 0.3).sum()
        assert colourful > 300, "a plot without data is grey"
        assert base64.b64encode((written / "figures" / name).read_bytes()).decode() in html
    tags = Page(html).tags
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    assert all(attributes["src"].startswith("data:image/png;base64,") for tag, attributes in tags if tag == "img")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in str(tags)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writing_the_report_again_changes_nothing(written, monkeypatch):
    monkeypatch.chdir(written.parents[1])
    before = files(written)
    with new_folder(written / "figures", "figures") as older:
        (older / "of_an_older_grid.png").write_bytes(b"")
    report.write(Path("outputs/mine"), CELLS, COSTS, AXES)
    assert files(written) == before


def test_a_report_without_any_evaluated_cell_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report.write(Path("outputs/mine"), CELLS, {}, AXES)
    page, html, rows = read(Path("outputs/mine"))
    assert "0 of 4 cells are evaluated" in page and "grid-en-nn-seed43" in html and rows == []


def test_a_numeric_axis_two_bases_and_no_vanilla_cell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    axis = "dataset.size"
    cells = [make_cell(size, 1, base, axis) for base in ("en", "zh") for size in (5000, 50000)]
    for cell in cells:
        folder = cell.output_dir / "evaluation"
        write_evaluation(folder, 1, 0.5, benchmarks=(f"only_{cell.base}",), settings=("zero_shot",), limit=12)
    report.write(Path("outputs/mine"), cells, {}, {axis: [5000, 50000]})
    page = read(Path("outputs/mine"))[0]
    assert "as no matching vanilla cell is evaluated: en 5000; en 50000; zh 5000; zh 50000." in page
    assert [row[0] for row in section(page, "Span F1, zh (sample)")] == ["5000", "50000"]
    # 50,000 minus 5,000 passages: two scores, two bases
    assert "6 differences are tested" in page and "may not hold for other models" in page
    assert "Difference to" not in page and "| mean |" not in page
    assert Path("outputs/mine/figures/span_f1_by_dataset.size_zh.png").is_file()


def test_cells_without_examples_and_with_settings_of_their_own_have_figures_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = AXES["evaluate.settings"]
    cells = [make_cell(strategy, 1, settings=setting) for strategy in ("none", "nn") for setting in settings]
    for cell in cells:
        folder = cell.output_dir / "evaluation"
        write_evaluation(folder, 1, 0.5, settings=(cell.values["settings"],))
        if cell.is_vanilla:  # k 0: there is no score of an example
            rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
            rows = [json.dumps({**row, "example_scores": []}) + "\n" for row in rows]
            (folder / "predictions.jsonl").write_text("".join(rows))
    report.write(Path("outputs/mine"), cells, {}, {"dataset.strategy": ["none", "nn"], "settings": settings})
    assert len(list(Path("outputs/mine/figures").glob("*best_example.png"))) == 1


def test_cells_on_different_passages_are_compared_with_their_vanilla_cells_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    axes = {"dataset.strategy": ["none", "nn"], "benchmark": ["politics", "movie"]}
    cells = [
        make_cell(strategy, 1, benchmark=name) for strategy in axes["dataset.strategy"] for name in axes["benchmark"]
    ]
    for cell in cells:
        write_evaluation(cell.output_dir / "evaluation", 1, 0.5, benchmarks=(cell.values["benchmark"],))
    report.write(Path("outputs/mine"), cells, {}, axes)
    page = read(Path("outputs/mine"))[0]
    assert len(section(page, "Span F1")) == 8 and "Differences between cells" not in page
    assert [row[:3] for row in section(page, "Difference to vanilla, span F1")] == [
        ["nn", name, setting] for name in axes["benchmark"] for setting in ("zero_shot", "in_domain-nn")
    ]


def test_a_grid_without_axes_compares_its_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = Cell("mine-seed1", "en", {}, 1, False)
    write_evaluation(cell.output_dir / "evaluation", 1, 0.5)
    report.write(Path("outputs/mine"), [cell], {}, {"evaluate.settings": AXES["evaluate.settings"]})
    page = read(Path("outputs/mine"))[0]
    assert [row[0] for row in section(page, "Span F1")] == ["zero_shot", "in_domain-nn"]
    assert "span_f1_by_setting.png" in page


def hostile_report(name: str) -> tuple[str, str]:
    cells = [
        Cell(f"c{number}", name, {name: value}, 1, value is None) for number, value in enumerate((None, name, [name]))
    ]
    for cell in cells:
        write_evaluation(cell.output_dir / "evaluation", 1, 0.5, benchmarks=(name, name + "2"), models=[name])
    report.write(Path("outputs/mine"), cells, {}, {name: [None, name, [name]]})
    return read(Path("outputs/mine"))[:2]


def test_names_with_markup_are_shown_as_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    harmless = [(tag, list(attributes)) for tag, attributes in Page(hostile_report("n")[1]).tags]
    name = "$x_{$" + "".join(part for part in HOSTILE if part not in ("\ud800", "\x00", "\n"))
    markdown, html = hostile_report(name)
    page = Page(html)
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == harmless
    assert name in page.content
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert not any(re.search(r"(?<!\\)[<`]", line) for line in tables)
    first = markdown.split("## Span F1")[1].split("\n## ")[0].splitlines()
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in first if line.startswith("|")]
    assert columns == [7] * 8, "a header, a rule, and three cells in two settings"
