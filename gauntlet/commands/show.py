"""`gauntlet show`: the results of a run of before, and the images that speak against its model."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ConfigError
from gauntlet.options import console_beside, json_option, root_option
from gauntlet.parameters import OUTPUT_FILE
from pipeline.root.root import Root

if TYPE_CHECKING:
    from rich.console import Console

    from gauntlet.history.against import GateImages
    from pipeline.report.run_summary import RunSummary


@click.command
@click.argument("run", default="latest", metavar="[RUN]")
@root_option
@click.option(
    "--gate",
    metavar="NAME",
    help="Instead of the tables: the images that speak against the model at this gate, clean and "
    "attacked side by side, as a picture.",
)
@click.option(
    "--output",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="PNG file for the picture of --gate. Default: gate-NAME.png beside the results of the "
    "run, or in the current folder where those cannot be written.",
)
@json_option("summary.json, or with --gate the gate and its images,")
def show(
    run: str, root: Root, gate: str | None, output: Path | None, json_file: Path | None
) -> None:
    """Print the tables of a run again, without computing anything.

    RUN is a name from `gauntlet runs`, the beginning of one, `latest`, or `previous`, the one
    before.

    \b
      gauntlet show
      gauntlet show 20261128-0459
      gauntlet show latest --gate worst_class
    """
    from foundation.whole import write_text
    from gauntlet.history.runs import chosen, read_run
    from gauntlet.tables.run import print_summary

    if output and not gate:
        raise ConfigError("--output is the file of --gate; name a gate, or leave it out")
    console = console_beside(json_file)
    run_id = chosen(root, run)
    summary, folder = read_run(root, run_id), root.results(run_id)
    if gate:
        found = pictured(summary, folder, gate, output, console)
        if json_file:
            write_text(json_file, found.to_json())
        return
    if json_file:
        write_text(json_file, summary.to_json())
    console.print(f"run {run_id}, preset {summary.preset}", markup=False, highlight=False)
    print_summary(summary, folder, console)


def pictured(
    summary: "RunSummary", folder: Path, name: str, output: Path | None, console: "Console"
) -> "GateImages":
    """The images of a gate, drawn and told. folder: of the run's results."""
    from gauntlet.history.against import (
        GateImages,
        gate_of,
        pairs_against,
        place_of_picture,
        told,
    )
    from gauntlet.tables.against import against_table
    from robustness.config import shown_epsilon

    gate = gate_of(summary, name)
    console.print(gate.sentence, markup=False, highlight=False, soft_wrap=True)
    if gate.images_against == 0:
        console.print("No image speaks against the model there.")
        return GateImages(run_id=summary.run_id, gate=gate, picture=None, images=())
    pairs = pairs_against(folder, gate)
    from gauntlet.history.picture import draw_pairs

    picture = output or place_of_picture(folder, name)
    threat = f"{summary.threat.norm} {shown_epsilon(summary.threat.epsilon)}"
    caption = f"run {summary.run_id}, {threat}: {name}"
    draw_pairs(pairs, summary.class_names, caption, picture)
    found = GateImages(run_id=summary.run_id, gate=gate, picture=picture, images=told(pairs))
    console.print(against_table(found, summary.class_names))
    console.print(f"The picture is in {picture}", markup=False, highlight=False, soft_wrap=True)
    return found
