"""Pictures: a run's attacked images with what both models say, how the robust model was trained and
tuned, and the robustness curve of an evaluation."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report.run_summary import Training, Tuning

COLUMNS = 8
RIGHT, WRONG = "tab:green", "tab:red"


def draw_grid(
    images: npt.NDArray[np.float32], rows: pd.DataFrame, caption: str, path: Path
) -> None:
    """Write a PNG with one image a cell.

    Args:
        images: float32 [n, h, w, c] in [0, 1], c of 1 or 3.
        rows: n rows with `label`, `prediction_undefended` and `prediction_robust`.
        caption: what was done to the images.
        path: file to write.
    """
    lines = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 2.1 * lines + 0.6), layout="constrained")
    figure.suptitle(
        f"{caption}\ntrue label; prediction of the undefended (u) and the robust (r) model"
    )
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, row in zip(axes, images, rows.itertuples(), strict=False):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0.0, vmax=1.0)
        axis.set_title(f"true {row.label}", fontsize=9, loc="left")
        predictions = (
            ("center", "u", row.prediction_undefended),
            ("right", "r", row.prediction_robust),
        )
        for place, name, prediction in predictions:
            colour = RIGHT if prediction == row.label else WRONG
            axis.set_title(f"{name} {prediction}", fontsize=9, loc=place, color=colour)
    figure.savefig(path, dpi=100)


def draw_training(training: Training, caption: str, path: Path) -> None:
    """Write a PNG of the accuracies on the validation split after every epoch.

    Args:
        training: epoch by epoch.
        caption: what was trained.
        path: file to write.
    """
    epochs = training.epochs
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    kinds = {"val_clean": ("clean", "tab:gray"), "val_adversarial": ("under PGD-20", "tab:blue")}
    for name, (label, colour) in (
        kinds | {"val_certified": ("proven by intervals", "tab:green")}
    ).items():
        if name in epochs[0]:
            values = [epoch[name] for epoch in epochs]
            axis.plot(range(1, len(epochs) + 1), values, marker=".", color=colour, label=label)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.axvline(training.best_epoch, color="tab:orange", linestyle=":", label="exported")
    axis.set(xlabel="epoch", ylabel="accuracy, validation split", ylim=(-0.02, 1.02), title=caption)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def draw_front(tuning: Tuning, caption: str, path: Path) -> None:
    """Write a PNG of all trials of a search: accuracy under attack, and proven, against clean
    accuracy.

    Args:
        tuning: all trials.
        caption: what was tuned.
        path: file to write.
    """
    trials = tuning.trials
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axis = figure.subplots()
    kinds = {
        "adversarial": ("under PGD-20", "tab:blue", "o"),
        "certified": ("proven by intervals", "tab:green", "s"),
    }
    for name, (label, colour, marker) in kinds.items():
        measured = [trial for trial in trials if getattr(trial, name) is not None]
        for on_front, filled in ((True, colour), (False, "none")):
            points = [
                (trial.clean, getattr(trial, name)) for trial in measured if trial.front is on_front
            ]
            if points:
                shown = label if on_front else f"{label}, not on the front"
                axis.scatter(
                    *zip(*points, strict=True),
                    edgecolors=colour,
                    facecolors=filled,
                    marker=marker,
                    label=shown,
                )
    chosen = next(trial for trial in trials if trial.chosen)
    axis.scatter(
        chosen.clean,
        chosen.adversarial,
        s=160,
        facecolors="none",
        edgecolors="tab:orange",
        label="chosen",
    )
    axis.axvline(
        tuning.clean_floor, color="tab:gray", linestyle=":", label="floor of clean accuracy"
    )
    axis.set(
        xlabel="clean accuracy",
        ylabel="accuracy",
        title=f"{caption}\nvalidation split, {len(trials)} trials",
    )
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
