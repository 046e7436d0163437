"""Colours and fonts of the page."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """gradio's soft theme with enough contrast to be read (WCAG 2.1, AA), and without fonts from elsewhere."""
    soft = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return soft.set(
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
        block_info_text_color="*neutral_600",
        body_text_color_subdued="*neutral_600",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_secondary_background_fill_hover_dark="*primary_600",
        checkbox_label_background_fill_selected="*primary_600",
        input_placeholder_color="*neutral_500",
    )
