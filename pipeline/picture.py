"""The picture of a run: attacked images, each with its true label and what both models say."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

COLUMNS = 8
RIGHT, WRONG = "tab:green", "tab:red"


def draw_grid(images: npt.NDArray[np.float32], rows: pd.DataFrame, caption: str, path: Path) -> None:
    """Write a PNG with one image a cell.

    Args:
        images: float32 [n, h, w, c] in [0, 1], c of 1 or 3.
        rows: n rows with `label`, `prediction_undefended` and `prediction_robust`.
        caption: what was done to the images.
        path: file to write.
    """
    lines = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 2.1 * lines + 0.6), layout="constrained")
    figure.suptitle(f"{caption}\ntrue label; prediction of the undefended (u) and the robust (r) model")
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, row in zip(axes, images, rows.itertuples(), strict=False):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0.0, vmax=1.0)
        axis.set_title(f"true {row.label}", fontsize=9, loc="left")
        predictions = (("center", "u", row.prediction_undefended), ("right", "r", row.prediction_robust))
        for place, name, prediction in predictions:
            colour = RIGHT if prediction == row.label else WRONG
            axis.set_title(f"{name} {prediction}", fontsize=9, loc=place, color=colour)
    figure.savefig(path, dpi=100)
