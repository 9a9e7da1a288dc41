"""`gauntlet models`: what has been pushed, and how each version came there."""

from pathlib import Path

import click

from gauntlet.options import console_beside, json_option, place_of, root_or_store_options
from pipeline.root.root import Root


@click.command
@root_or_store_options
@json_option("the list")
def models(folder: str | None, store: str, json_file: Path | None) -> None:
    """List the pushed versions with their numbers, and how each was pushed.

    The newest version is the served one, and the champion: the next candidate is compared with it.
    """
    from rich.markup import escape

    from components.versions import list_versions
    from foundation.json import dumps
    from foundation.whole import write_text
    from gauntlet.supervisor import call
    from gauntlet.tables.models import version_table
    from gauntlet.work import temporary_log

    console = console_beside(json_file)
    place = place_of(folder, store)
    serving = str(place.serving) if isinstance(place, Root) else place
    if "://" in serving:
        with temporary_log() as log:
            pushed = call("components.versions:list_store", serving, log, console)
    else:
        pushed = list_versions(serving)
    if json_file:
        write_text(json_file, dumps([version.plain() for version in pushed]) + "\n")
    if pushed:
        console.print(version_table(serving, pushed))
    else:
        console.print(
            escape(f"nothing has been pushed in {store or place} yet"),
            highlight=False,
            soft_wrap=True,
        )
