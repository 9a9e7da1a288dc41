"""`gauntlet models`: what has been pushed, and how each version came there."""

from pathlib import Path

import click

from gauntlet.options import json_option, root_option
from pipeline.root.root import Root


@click.command
@root_option
@json_option("the list")
def models(root: Root, json_file: Path | None) -> None:
    """List the pushed versions with their numbers, and how each was pushed.

    The newest version is the served one, and the champion: the next candidate is compared with it.
    """
    from rich.console import Console
    from rich.markup import escape

    from components.versions import list_versions
    from foundation.json import dumps
    from gauntlet.tables.models import version_table

    pushed = list_versions(str(root.serving))
    if json_file:
        json_file.write_text(dumps([version.plain() for version in pushed]) + "\n")
    console = Console()
    if pushed:
        console.print(version_table(root, pushed))
    else:
        console.print(
            escape(f"nothing has been pushed in {root} yet"), highlight=False, soft_wrap=True
        )
