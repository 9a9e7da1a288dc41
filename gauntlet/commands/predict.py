"""`gauntlet predict`: answers of the served model."""

from pathlib import Path

import click

from gauntlet.options import console_beside, json_option, request, root_option, voice_options
from pipeline.production.requests import Classification


@click.command
@root_option
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE..."
)
@voice_options
@json_option("the answers")
@request(Classification)
def predict(task: Classification, json_file: Path | None) -> None:
    """Classify PNG files with the served model: the version with the highest number.

    The images have the shape and the colours of those of the training; a JPEG is to be saved as PNG
    first. Where one cannot be taken, all such are named, none is answered, and the exit code is 4.
    """
    from rich.markup import escape
    from rich.table import Table

    from foundation.whole import write_text
    from gauntlet.documents import Predictions
    from gauntlet.work import call_with, log_of

    console = console_beside(json_file)
    task.check()
    with log_of(task.root) as log:
        found = call_with(
            "TensorFlow", "pipeline.production.prediction:classify", task, log, console
        )
    if json_file:
        write_text(json_file, Predictions.of(found).to_json())
    table = Table(title=f"Version {found.version}")
    for column in ("image", "class", "label", "probability"):
        left = column in ("image", "label")
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for image, answer in zip(task.images, found.answers, strict=True):
        name = "unknown" if answer.name is None else escape(answer.name)
        table.add_row(escape(str(image)), str(answer.label), name, f"{answer.probability:.2%}")
    console.print(table)
