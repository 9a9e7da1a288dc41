"""`gauntlet init`: settings, an example network and a workflow of CI for a folder of images."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ConfigError
from gauntlet.options import SETTINGS_FILE
from gauntlet.parameters import LOCAL_PATH, created, local_path

if TYPE_CHECKING:
    from rich.console import Console

    from gauntlet.project.fit import Fit

NETWORK_FILE, WORKFLOW_FILE = "network.py", ".github/workflows/gauntlet.yml"


@click.command
@click.option(
    "--data",
    required=True,
    metavar="FOLDER",
    help="Your images: SPLIT/CLASS/IMAGE with the splits train and test, or a folder of spans.",
)
@click.option(
    "--output",
    type=LOCAL_PATH,
    default=".",
    show_default=True,
    help="Folder to write into, in which the commands are then called.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
def init(data: str, output: Path, force: bool) -> None:
    """Look at a folder of images and write what a run of them needs.

    \b
      gauntlet init --data ./pets
      gauntlet init --data ./pets --output project

    Writes gauntlet.toml (settings that fit the images, with comments; its gates report, and refuse
    only what is worse than the served model), network.py (an example of a network of your own) and
    .github/workflows/gauntlet.yml (a gate for a model in CI), and says what to call next.
    """
    from rich.console import Console

    from components.datasets.folder.summary import summary
    from foundation.whole import write_text
    from gauntlet.project.files import NETWORK, check_command, settings, workflow
    from gauntlet.project.fit import too_few

    fit = fit_of(data, Console(stderr=True))
    dataset = dataset_from(data, output)
    texts = {
        SETTINGS_FILE: settings(fit, dataset),
        NETWORK_FILE: NETWORK,
        WORKFLOW_FILE: workflow(fit, root_for(data)),
    }
    if not force:
        refuse_what_is_there([output / name for name in texts])
    for name, text in texts.items():
        created((output / name).parent, "output")
        write_text(output / name, text)
    click.echo("\n".join(summary(fit.images)))
    click.echo(f"wrote {', '.join(texts)} in {output}")
    for reason in too_few(fit.images):
        click.echo(f"note: few test images for {reason}")
    click.echo("\nNext:")
    if output != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(output))}")
    click.echo(f"  gauntlet run --root {root_for(data)}")
    click.echo(f"  {check_command(fit, root_for(data))}")


def fit_of(data: str, console: "Console") -> "Fit":
    """What fits the folder, of spans the newest complete one; what is looked at is shown.

    Raises:
        ConfigError: there is no such folder.
        DataError: it holds no data set of images.
    """
    from gauntlet.configuration import looked_at
    from gauntlet.project.fit import fit
    from pipeline.definition.config import DataConfig

    folder = str(local_path(data))
    # Whatever their sizes, which are then chosen from: brought to one size, none is refused.
    _, images = looked_at(DataConfig(dataset=folder, resize=(1, 1)), console)
    return fit(images)


def root_for(data: str) -> str:
    """A name for the root of runs with a folder, of letters that every part of a run takes."""
    name = re.sub(r"[^\w.-]+", "-", local_path(data).name).strip("-.")
    return f"runs-{name or 'images'}"


def dataset_from(data: str, output: Path) -> str:
    """The folder of the images as it is named where the files are."""
    if data.startswith(("/", "~")):
        return data
    path = os.path.relpath(local_path(data).resolve(), output.resolve())
    return path if path == ".." or path.startswith("../") else f"./{path}"


def refuse_what_is_there(files: list[Path]) -> None:
    """Raises ConfigError where a file would be written over."""
    if there := [str(file) for file in files if os.path.lexists(file)]:
        raise ConfigError(
            f"{', '.join(there)}: there already; nothing was written. --force writes over it, "
            "--output names another folder"
        )
