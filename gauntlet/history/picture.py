"""The picture of the images that speak against a model: each clean and attacked, side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from foundation.whole import write_whole
from gauntlet.history.against import Against, class_text, told
from pipeline.report.against import Pairs, Pixels

COLUMNS = 4
CELL, TEXT, GAP, HEAD = 2.9, 0.75, 0.15, 0.6
"""Inches: width of a pair, height of its text, between pairs, height of the heading."""

WIDTH = 42
"""Characters of a line above a pair."""


def draw_pairs(pairs: Pairs, names: Sequence[str], caption: str, path: Path) -> None:
    """Write a PNG with a pair of images a cell.

    Args:
        pairs: images of 1 or 3 channels, at least one.
        names: of the classes, in label order; empty for numbers alone.
        caption: what the images have in common.
        path: file to write, whole or not at all.
    """
    images = [side_by_side(*both) for both in zip(pairs.clean, pairs.attacked, strict=True)]
    tall = CELL * images[0].shape[0] / images[0].shape[1]
    lines = -(-len(images) // COLUMNS)
    wide, high = COLUMNS * (CELL + GAP) + GAP, HEAD + GAP + lines * (tall + TEXT)
    figure = Figure(figsize=(wide, high))
    axis = figure.add_axes((0, 0, 1, 1))  # in inches; axes for each cell would take seconds
    axis.set_axis_off()
    heading = f"{caption}\nleft: clean, right: attacked; predictions in the same order"
    axis.text(wide / 2, high - GAP, heading, ha="center", va="top", parse_math=False)
    for place, image in enumerate(told(pairs)):
        line, column = divmod(place, COLUMNS)
        left, top = GAP + column * (CELL + GAP), high - HEAD - line * (tall + TEXT) - TEXT
        extent = (left, left + CELL, top - tall, top)
        axis.imshow(images[place], extent=extent, aspect="auto", interpolation="nearest")
        text, middle = text_of(image, names), left + CELL / 2
        axis.text(middle, top, text, fontsize=8, ha="center", va="bottom", parse_math=False)
    axis.set(xlim=(0, wide), ylim=(0, high))  # which an image changes
    quick = {"compress_level": 1}
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=90, pil_kwargs=quick))


def side_by_side(clean: Pixels, attacked: Pixels) -> Pixels:
    """Both images in one, white between them, in colours."""
    height, width, _ = clean.shape
    gap = np.full((height, max(1, width // 14), 3), 255, np.uint8)
    left, right = (np.broadcast_to(each, (height, width, 3)) for each in (clean, attacked))
    return np.concatenate([left, gap, right], axis=1)


def text_of(image: Against, names: Sequence[str]) -> str:
    """Four lines above a pair: which image, its class, the two predictions, and what speaks against
    the model."""
    label, *said = (
        class_text(each, names)
        for each in (image.label, image.prediction, image.attacked_prediction)
    )
    both = " | ".join(clipped(each, (WIDTH - 3) // 2) for each in said)
    return "\n".join((clipped(image.id), clipped(f"true {label}"), both, clipped(image.attack)))


def clipped(text: str, width: int = WIDTH) -> str:
    """A text without its middle, where it is too long for a cell, or a part of one."""
    if len(text) <= width:
        return text
    return f"{text[: width // 3]}…{text[width // 3 + 1 - width :]}"
