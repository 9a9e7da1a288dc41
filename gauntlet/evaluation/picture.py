"""The robustness curve of an evaluation."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from gauntlet.evaluation.report import Result


def draw_curve(results: Sequence[Result], path: Path) -> None:
    """Write a PNG of accuracy against epsilon: what the attacks leave, what is proven, and between
    them what is open. results: each of at least one image."""
    entries = sorted(results, key=lambda entry: entry.epsilon)
    first = entries[0]
    assert first.clean is not None
    epsilons = [0.0, *(entry.epsilon for entry in entries)]
    left = [entry.worst_case for entry in entries if entry.worst_case is not None]
    attacked = [first.clean, *left]
    proven = [entry.certified for entry in entries if entry.certified is not None]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(first.clean, color="tab:gray", linestyle=":", label="clean")
    axis.plot(epsilons, attacked, marker="o", color="tab:blue", label="under attack (worst case)")
    if len(proven) == len(entries):
        certified = [first.clean, *proven]
        axis.plot(epsilons, certified, marker="s", color="tab:green", label="certified")
        axis.fill_between(epsilons, certified, attacked, color="tab:blue", alpha=0.15, label="open")
    axis.set(
        xlabel=f"epsilon ({first.norm}, pixels in [0, 1])", ylabel="accuracy", ylim=(-0.02, 1.02),
        title=f"{first.examples:,} images, seed {first.seed}",
    )  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    figure.savefig(path, dpi=110)
