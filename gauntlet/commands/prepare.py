"""`gauntlet prepare`: data on this machine, ready to be copied into a store for a cluster."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.events import phase
from gauntlet.options import console_beside, json_option, voice_options
from gauntlet.parameters import PLAIN_FOLDER, SIZE

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
    "--resize",
    type=SIZE,
    metavar="H,W",
    help="Bring the images of a folder to this height and width. Default: all have one size.",
)
@click.option(
    "--data-dir",
    type=PLAIN_FOLDER,
    help="Where the data lies or goes, as in `gauntlet run`. Default: the folder of tfds.",
)
@voice_options
@json_option("what was prepared")
def prepare(
    dataset: str, resize: tuple[int, int] | None, data_dir: Path | None, json_file: Path | None
) -> None:
    """Prepare a data set, verify it, and say how a cluster gets it.

    \b
      gauntlet prepare --dataset mnist
      gauntlet prepare --dataset ./pets --data-dir prepared

    A cluster that cannot reach the internet, and your own images, need the prepared folder in a
    store: copy what this prints, and compile with --data-uri and --data-fingerprint.
    """
    from foundation.whole import write_text
    from gauntlet.documents import Prepared
    from gauntlet.supervisor import call
    from gauntlet.work import temporary_log

    console = console_beside(json_file)
    order = Order(dataset, None if data_dir is None else str(data_dir), resize)
    with temporary_log() as log:
        prepared, settings = call("gauntlet.commands.prepare:prepared", order, log, console)
    if json_file:
        write_text(json_file, Prepared(prepared=prepared, settings=settings).to_json())
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
    if len(settings) > 1:
        lines += [f"  --set {shlex.quote(f'{name}={value}')}" for name, value in settings.items()]
    last = len(lines) - 1
    for number, line in enumerate(lines):  # options that a shell takes as they stand here
        more = " \\" if line.startswith("  --") and number < last else ""
        console.print(line + more, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Order:
    """What the child process shall prepare."""

    dataset: str
    data_dir: str | None
    resize: tuple[int, int] | None


def prepared(order: Order) -> tuple["PreparedDataset", dict[str, str]]:
    """The prepared data set, and the settings of a run with it; see `components.datasets`."""
    from components.datasets import prepare as datasets
    from components.datasets.image_folder import describe, is_folder

    with phase("data"):
        if not is_folder(order.dataset):
            found = datasets.prepare(order.dataset, order.data_dir, order.resize)
            return found, {"data.dataset": found.name}
        own = describe(order.dataset, order.resize)
        settings = {
            "data.image_shape": ",".join(map(str, own.image_shape)),
            "data.classes": str(len(own.classes)),
            "data.class_names": json.dumps(own.classes, ensure_ascii=False, allow_nan=False),
            **{f"data.{name}": split for name, split in own.splits.items()},
        }
        if own.resize:
            settings["data.resize"] = ",".join(map(str, own.resize))
        found = datasets.prepare_folder(own, order.data_dir)
        return found, {"data.dataset": found.name} | settings
