"""Pictures: a run's attacked images with what both models say, how the robust model was trained and
tuned, and the robustness curve of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.records.names import ROBUST, UNDEFENDED
from components.records.record import Rows
from pipeline.report.run_summary import Training, Tuning
from trainer.classes import shown

COLUMNS = 8
WIDTH = 22
"""Characters of a label below one another in a cell."""

RIGHT, WRONG = "tab:green", "tab:red"


def draw_grid(rows: Rows, class_names: Sequence[str], caption: str, path: Path) -> None:
    """Write a PNG with one image a cell.

    Args:
        rows: rows with images, of 1 or 3 channels, and the predictions of both models.
        class_names: in label order; empty for numbers alone.
        caption: what was done to the images.
        path: file to write.
    """
    assert rows.image is not None
    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(1.5 * COLUMNS, 2.3 * lines + 0.6), layout="constrained")
    figure.suptitle(
        f"{caption}\ntrue label; prediction of the undefended (u) and the robust (r) model"
    )
    axes = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    says = {"true": rows.label, "u": rows.predictions[UNDEFENDED], "r": rows.predictions[ROBUST]}
    for i, (image, label) in enumerate(zip(rows.image, rows.label, strict=True)):
        axes[i].imshow(image.squeeze(), cmap="gray", vmin=0.0, vmax=1.0)
        axes[i].set_title("\n" * (len(says) - 1), fontsize=9)  # holds the place of the lines
        for line, (who, labels) in enumerate(reversed(says.items())):
            text = f"{who} {shown(int(labels[i]), class_names)}"
            text = text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
            colour = "black" if who == "true" else RIGHT if labels[i] == label else WRONG
            label_of = axes[i].annotate(
                text,
                (0, 1),
                (0, 3 + 11 * line),
                xycoords="axes fraction",
                textcoords="offset points",
                color=colour,
                fontsize=8,
                parse_math=False,  # a name may have a dollar sign
            )
            label_of.set_in_layout(False)  # the images have their size, whatever is written
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
    axis.title.set_parse_math(False)  # a folder's name may have a dollar sign
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
    axis.title.set_parse_math(False)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
