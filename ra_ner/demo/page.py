"""The demo's page and API, with Gradio."""

from html import escape
from pathlib import Path

import gradio as gr

from ..errors import UserError
from ..extraction.entities import Entity, without_overlaps
from .answers import EXAMPLES, TEXT, TYPES, Demo

WAITING = 64  # requests in the queue; one is answered at a time

# System fonts, as others would be loaded from elsewhere; colours with enough contrast to read, unlike Gradio's own.
THEME = gr.themes.Default(
    primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
).set(
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
)
# How the page is served, besides address and port.
SERVED = {"theme": THEME, "share": False, "ssr_mode": False, "max_file_size": "1mb"}

EXAMPLE = '{"id": "1", "text": "Bob left Bern.", "entities": [{"text": "Bob", "type": "person"}]}'


def make_page(demo: Demo) -> gr.Blocks:
    """The page, with the API endpoint `/extract`. Start it with `launch(**SERVED)`."""
    name = demo.in_context.model.name

    def extract(text: str, types: list[str], examples: str = "", threshold: float = 0.0) -> dict:
        try:
            return demo.extract(text, types, examples, threshold)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from None

    extract.__doc__ = Demo.extract.__doc__

    def answer(text: str, types: str, examples: str) -> tuple[dict, str]:
        asked = text, types.split("\n"), examples
        try:
            return demo.extract(*asked), "\n\n".join(demo.prompts(*asked))
        except UserError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None  # the page shows errors as HTML

    with gr.Blocks(title=f"RA-NER: {name}", analytics_enabled=False) as page:
        gr.Markdown("# Open named entity recognition")
        gr.Textbox(name, label="Model", interactive=False)
        with gr.Row():
            with gr.Column():
                text = gr.Textbox(label="Text", lines=6, max_length=TEXT, placeholder="Ada met Bob in Rome.")
                types = gr.Textbox(
                    label=f"Types, one on each line, at most {TYPES}; a definition may follow a colon",
                    lines=3,
                    placeholder="person\ncity: a town, not a country",
                )
                examples = gr.Textbox(
                    label="In-context examples, such as JSON Lines; empty: the demo's own, if it has any",
                    lines=3,
                    max_lines=8,
                    max_length=EXAMPLES,
                    placeholder=EXAMPLE,
                )
                upload = gr.UploadButton("Examples from a file", size="sm")
                button = gr.Button("Find entities", variant="primary")
            with gr.Column():
                threshold = gr.Slider(0, 1, 0, step=0.01, label="Lowest score")
                zero_shot = gr.HighlightedText(label="Zero-shot", show_legend=True)
                in_context = gr.HighlightedText(label="With in-context examples", show_legend=True)
                with gr.Accordion("All results as JSON, overlapping ones too", open=False):
                    result = gr.JSON(show_label=False)
                with gr.Accordion("Prompts as the model reads them, with examples if there are any", open=False):
                    prompt = gr.Textbox(show_label=False, lines=10, max_lines=30, buttons=["copy"])
        found = gr.State(time_to_live=3600)
        shown = [zero_shot, in_context, result]
        upload.upload(_read, upload, examples, api_visibility="private")
        asked = button.click(
            answer, [text, types, examples], [found, prompt], concurrency_id="model", api_visibility="private"
        )
        asked.success(_show, [found, threshold], shown, api_visibility="private", queue=False)
        threshold.release(_show, [found, threshold], shown, api_visibility="private", queue=False)
        gr.api(extract, api_name="extract", concurrency_id="model")
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def _read(file: str) -> str:
    """The examples of an uploaded file."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise gr.Error("the file can't be read; save it as UTF-8 text", print_exception=False) from None


def _show(found: dict | None, threshold: float) -> tuple[dict | None, dict | None, dict | None]:
    """Both results as highlighted texts, and as JSON, without entities below the threshold."""
    if not found:
        return None, None, None
    kept = {name: row and row | {"entities": _above(row, threshold)} for name, row in found.items()}
    return _highlighted(kept["zero_shot"]), _highlighted(kept["in_context"]), kept


def _above(row: dict, threshold: float) -> list[dict]:
    return [entity for entity in row["entities"] if entity["score"] is None or entity["score"] >= threshold]


def _highlighted(row: dict | None) -> dict | None:
    if row is None:
        return None
    entities = without_overlaps([Entity(**entity) for entity in row["entities"]])
    spans = [{"entity": entity.type, "start": entity.start, "end": entity.end} for entity in entities]
    return {"text": row["text"], "entities": spans}
