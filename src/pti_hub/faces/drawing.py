"""Show which number each face of a photograph has."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pti_hub.faces.detector import Face

_COLOUR, _TEXT = (255, 214, 0), (0, 0, 0)


def draw_numbers(picture: Image.Image, faces: Sequence[Face]) -> Image.Image:
    """Draw a frame around every face, with the number of the face.

    Args:
        picture: A picture of mode RGB.
        faces: Faces of the picture, numbered in this order.

    Returns:
        A copy of the picture with the frames.
    """
    drawn = picture.copy()
    draw, short = ImageDraw.Draw(drawn), min(picture.size)
    width, font = max(2, short // 250), ImageFont.load_default(max(14, short // 25))
    for number, face in enumerate(faces):
        left, top, right, bottom = face.box
        draw.rectangle((left, top, right - 1, bottom - 1), outline=_COLOUR, width=width)
        # The number stays readable if the frame reaches beyond the picture.
        corner = (max(left, 0), max(top, 0))
        box = draw.textbbox(corner, f" {number} ", font)
        draw.rectangle((*corner, *box[2:]), fill=_COLOUR)
        draw.text(corner, f" {number} ", _TEXT, font)
    return drawn
