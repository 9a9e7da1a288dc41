"""`gauntlet models`: what has been pushed, and how each version came there."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ConfigError, RunError
from gauntlet.options import (
    console_beside,
    json_option,
    place_of,
    root_or_store_options,
    voice_options,
)
from pipeline.root.root import Root

if TYPE_CHECKING:
    from rich.console import Console

    from components.versions import Version


@click.command
@root_or_store_options
@click.option(
    "--journal",
    "history",
    is_flag=True,
    help="Instead: all that was done to the versions, by whom, when and why.",
)
@voice_options
@json_option("the list")
def models(folder: str | None, store: str, history: bool, json_file: Path | None) -> None:
    """List the pushed versions with their numbers, and how each was pushed.

    The newest version is the served one, and the champion: the next candidate is compared with it.
    Every file of every version is verified.
    """
    from rich.markup import escape

    from components.journal import read
    from components.versions import card_of_entry, missing, unnoted
    from foundation.whole import write_text
    from gauntlet.documents import Models
    from gauntlet.tables.models import journal_table, version_table
    from gauntlet.voice import note

    console = console_beside(json_file)
    place = place_of(folder, store)
    serving = str(place.serving) if isinstance(place, Root) else place
    if history and "://" in serving:
        raise ConfigError(
            f"{store} is an object store, which has no journal: a file there cannot be added to. "
            "The log of the store has who wrote what"
        )
    journal = read(serving)
    pushed = [] if history else _listed(place, serving, console)
    if json_file:
        write_text(json_file, (journal if history else Models.of(pushed)).to_json())
    if journal.damaged:
        lines = ", ".join(map(str, journal.damaged))
        note(console, f"the journal has lines that cannot be read: {lines}")
    if lost := unnoted(serving, pushed):
        note(console, lost)
    if gone := missing(serving):
        note(console, gone)
    if history:
        console.print(journal_table(serving, journal.entries))
    elif pushed:
        known = [card_of_entry(entry) for entry in journal.entries if entry.version]
        console.print(version_table(serving, pushed, known))
    else:
        console.print(
            escape(f"nothing has been pushed in {store or place} yet"),
            highlight=False,
            soft_wrap=True,
        )


def _listed(place: Root | str, serving: str, console: "Console") -> list["Version"]:
    """The versions of a root, compared with its metadata too, or of a store."""
    from components.versions import examined
    from gauntlet.supervisor import call
    from gauntlet.voice import note
    from gauntlet.work import temporary_log
    from pipeline.production.listing import list_root

    if "://" in serving:
        with temporary_log() as log:
            return list(call("components.versions:list_store", serving, log, console))
    if isinstance(place, str):
        return examined(serving)
    try:
        return list_root(place)
    except RunError as error:
        note(console, f"the versions are not compared with the metadata: {error}")
        return examined(serving)
