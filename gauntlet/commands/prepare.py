"""`gauntlet prepare`: data on this machine, ready to be copied into a store for a cluster."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ConfigError
from foundation.events import phase
from gauntlet.options import json_option
from gauntlet.parameters import PLAIN_FOLDER

if TYPE_CHECKING:
    from components.datasets.prepare import PreparedDataset


@click.command
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    help="Name of the data set in tfds, or a folder of your own images: SPLIT/CLASS/IMAGE.",
)
@click.option(
    "--data-dir",
    type=PLAIN_FOLDER,
    help="Where the data lies or goes, as in `gauntlet run`. Default: the folder of tfds.",
)
@json_option("what was prepared")
def prepare(dataset: str, data_dir: Path | None, json_file: Path | None) -> None:
    """Prepare a data set, verify it, and say how a cluster gets it.

    \b
      gauntlet prepare --dataset mnist
      gauntlet prepare --dataset ./pets --data-dir prepared

    A cluster that cannot reach the internet, and your own images, need the prepared folder in a
    store: copy what this prints, and compile with --data-uri and --data-fingerprint.
    """
    from rich.console import Console
    from rich.markup import escape

    from components.datasets.image_folder import describe, is_folder
    from foundation.json import dumps
    from gauntlet.supervisor import call
    from gauntlet.work import temporary_log

    console = Console()
    own = describe(dataset) if is_folder(dataset) else None
    if own and data_dir and data_dir.resolve().is_relative_to(Path(dataset).resolve()):
        raise ConfigError(
            f"--data-dir {data_dir} lies in the folder of the images themselves, where the next "
            "call would take it for a split; name another one"
        )
    order = (dataset, None if data_dir is None else str(data_dir))
    with temporary_log() as log:
        prepared = call("gauntlet.commands.prepare:prepared", order, log, console)
    settings = {"data.dataset": prepared.name}
    if own:
        settings |= {
            "data.image_shape": ",".join(map(str, own.image_shape)),
            "data.classes": str(len(own.classes)),
            **{f"data.{name}": split for name, split in own.splits.items()},
        }
    if json_file:
        json_file.write_text(dumps({"prepared": prepared, "settings": settings}) + "\n")
    counts = ", ".join(f"{count:,} {split}" for split, count in prepared.splits.items())
    lines = [
        f"{prepared.name} {prepared.version}: {counts}",
        f"folder       {prepared.directory}",
        f"fingerprint  {prepared.fingerprint}",
        "",
        "For a cluster, copy the folder into its store, and compile with",
        "  --data-uri URI_OF_THE_COPY",
        f"  --data-fingerprint {prepared.fingerprint}",
    ]
    if own:
        lines += [f"  --set {shlex.quote(f'{name}={value}')}" for name, value in settings.items()]
    last = len(lines) - 1
    for number, line in enumerate(lines):  # options that a shell takes as they stand here
        more = " \\" if line.startswith("  --") and number < last else ""
        console.print(escape(line + more), highlight=False, soft_wrap=True)


def prepared(order: tuple[str, str | None]) -> "PreparedDataset":
    """The prepared data set; see `components.datasets.prepare`."""
    from components.datasets import prepare as datasets

    dataset, data_dir = order
    with phase("data"):
        return datasets.prepare(dataset, data_dir)
