"""A preset's published numbers: several seeds, each trained, attacked and certified on the whole
test split.

    python scripts/preset_seeds.py robust [--seeds 0,1,2] [--folder data/presets]

For each seed `gauntlet run`, with gates that let everything pass. Prints a Markdown table with each
seed, the mean, and the range. What is there already is read.
"""

import json
import statistics
import subprocess
from pathlib import Path

import click
from measurement import GAUNTLET

from pipeline.definition.presets import PRESETS

OPEN_GATES = [
    f"--set=gates.{name}=0" for name in ("clean", "worst_case", "transfer_fgsm", "certified")
] + ["--set=gates.checks="]


def measure_seed(name: str, seed: int, folder: Path) -> dict[str, float]:
    """Training minutes, and fractions of all test images."""
    root = folder / f"{name}-{seed}"
    root.mkdir(parents=True, exist_ok=True)
    summary = root / "summary.json"
    if not summary.exists():
        command = [
            GAUNTLET,
            "run",
            "--preset",
            name,
            "--set",
            f"seed={seed}",
            *OPEN_GATES,
            "--root",
            str(root),
        ]
        subprocess.run([*command, "--json", str(summary)], check=True)
    result = json.loads(summary.read_text())
    return {"minutes": result["nodes"]["Trainer.robust"]["seconds"] / 60} | {
        figure: 100 * result["models"]["robust"][figure]
        for figure in ("clean", "worst_case", "certified")
    }


@click.command()
@click.argument("name", type=click.Choice(list(PRESETS)))
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path("data/presets"), show_default=True
)
def main(name: str, seeds: str, folder: Path) -> None:
    """Measure the preset NAME."""
    rows = {seed: measure_seed(name, seed, folder) for seed in map(int, seeds.split(","))}
    columns = {
        figure: [row[figure] for row in rows.values()] for figure in next(iter(rows.values()))
    }
    lines = {str(seed): [f"{value:.2f}" for value in row.values()] for seed, row in rows.items()}
    lines["mean"] = [f"**{statistics.mean(values):.2f}**" for values in columns.values()]
    lines["range"] = [f"{min(values):.2f} to {max(values):.2f}" for values in columns.values()]
    click.echo(
        "| seed | training, minutes | clean, % | worst case, % | certified, % "
        "|\n|---|---|---|---|---|"
    )
    click.echo("\n".join(f"| {label} | {' | '.join(cells)} |" for label, cells in lines.items()))


if __name__ == "__main__":
    main()
