"""The page of the Space: the metric's description."""

from pathlib import Path

import gradio as gr

with gr.Blocks(title="Entity F1") as page:
    gr.Markdown(Path(__file__).with_name("README.md").read_text(encoding="utf-8").split("---", 2)[2])

page.launch()
