"""The robustness curve of an evaluation."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw_curve(results: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG of accuracy against epsilon: what the attacks leave, what is proven, and between
    them what is open.

    Args:
        results: entries with `norm`, `epsilon`, `clean`, `worst_case`, `certified` (None: no bound
            applies).
        path: file to write.
    """
    entries = sorted(results, key=lambda entry: entry["epsilon"])
    clean = entries[0]["clean"]
    epsilons = [0.0, *(entry["epsilon"] for entry in entries)]
    attacked = [clean, *(entry["worst_case"] for entry in entries)]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axhline(clean, color="tab:gray", linestyle=":", label="clean")
    axis.plot(epsilons, attacked, marker="o", color="tab:blue", label="under attack (worst case)")
    if all(entry["certified"] is not None for entry in entries):
        certified = [clean, *(entry["certified"] for entry in entries)]
        axis.plot(epsilons, certified, marker="s", color="tab:green", label="certified")
        axis.fill_between(epsilons, certified, attacked, color="tab:blue", alpha=0.15, label="open")
    axis.set(
        xlabel=f"epsilon ({entries[0]['norm']}, pixels in [0, 1])", ylabel="accuracy", ylim=(-0.02, 1.02),
        title=f"{entries[0]['examples']:,} images, seed {entries[0]['seed']}",
    )  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    figure.savefig(path, dpi=110)
