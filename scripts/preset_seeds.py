"""A preset's published numbers: several seeds, each trained, attacked and certified on the whole
test split.

    python scripts/preset_seeds.py robust [--seeds 0,1,2] [--folder data/presets]

For each seed `gauntlet run`, with gates that let everything pass. Prints a Markdown table with each
seed, the mean, and the range, and writes them to `docs/results.json`, with which a test compares
the README and the docstring of the preset. What is there already is read.
"""

import dataclasses
import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from measurement import GAUNTLET

from components.policy import GatesConfig
from foundation.json import dumps
from foundation.whole import write_text
from pipeline.definition.presets import PRESETS

RESULTS = Path(__file__).parents[1] / "docs" / "results.json"
"""By preset: `command`, `seeds`, and `figures`, in percent of all test images: the lowest, the mean
and the highest of all seeds."""

REFUSED = 3
"""Exit code of a run whose model was refused; whether it is served as evaluated is always asked."""


def open_gates() -> list[str]:
    """Settings that close no gate: a share that is at least 0, a gap of at most 1, empty lists."""
    shut = {"gap": "1"}
    values = {
        field.name: shut.get(field.name, "" if isinstance(field.default, tuple) else "0")
        for field in dataclasses.fields(GatesConfig)
    }
    return [f"gates.{name}={value}" for name, value in values.items()]


def measure_seed(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """The summary of a run; raises CalledProcessError when it ends before its gates."""
    root = folder / f"{name}-{seed}"
    root.mkdir(parents=True, exist_ok=True)
    summary = root / "summary.json"
    if not summary.exists():
        settings = [f"--set={setting}" for setting in (f"seed={seed}", *open_gates())]
        command = [GAUNTLET, "run", "--preset", name, *settings, "--root", root, "--json", summary]
        done = subprocess.run(list(map(str, command)))
        if done.returncode != REFUSED:
            done.check_returncode()
    return dict(json.loads(summary.read_text()))


def figures_of(summary: dict[str, Any]) -> dict[str, float]:
    """Training minutes, and all accuracies in percent, such as `robust.transfer.fgsm`."""
    minutes = summary["nodes"]["Trainer.robust"]["seconds"] / 60
    return {"minutes": minutes} | dict(_percent("", summary["models"]))


def _percent(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _percent(f"{prefix}{name}.", value)
        elif value is not None:
            yield f"{prefix}{name}", 100 * value


def spread(rows: list[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """The lowest, the mean and the highest of each figure."""
    columns = {figure: [row[figure] for row in rows] for figure in rows[0]}
    return {
        figure: (round(min(values), 2), round(statistics.mean(values), 2), round(max(values), 2))
        for figure, values in columns.items()
    }


def table(rows: dict[int, dict[str, float]]) -> str:
    """In Markdown: each seed, the mean, and the range."""
    shown = ("minutes", "robust.clean", "robust.worst_case", "robust.certified")
    ranges = [spread(list(rows.values()))[figure] for figure in shown]
    lines = {str(seed): [f"{row[figure]:.2f}" for figure in shown] for seed, row in rows.items()}
    lines["mean"] = [f"**{mean:.2f}**" for _, mean, _ in ranges]
    lines["range"] = [f"{low:.2f} to {high:.2f}" for low, _, high in ranges]
    head = "| seed | training, minutes | clean, % | worst case, % | certified, % |\n"
    cells = [f"| {label} | {' | '.join(cells)} |" for label, cells in lines.items()]
    return head + "|---|---|---|---|---|\n" + "\n".join(cells)


@click.command()
@click.argument("name", type=click.Choice(list(PRESETS)))
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("data/presets"), show_default=True
)
def main(name: str, seeds: str, folder: Path) -> None:
    """Measure the preset NAME."""
    numbers = [int(seed) for seed in seeds.split(",")]
    rows = {seed: figures_of(measure_seed(name, seed, folder)) for seed in numbers}
    click.echo(table(rows))
    results = json.loads(RESULTS.read_text())
    results[name] = {
        "command": f"python scripts/preset_seeds.py {name} --seeds {seeds}",
        "seeds": numbers,
        "figures": spread(list(rows.values())),
    }
    write_text(RESULTS, dumps(results) + "\n")


if __name__ == "__main__":
    main()
