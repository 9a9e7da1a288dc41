"""`gauntlet models`: what has been pushed, and how each version came there."""

from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.versions import MEASURED, Card, PushedBy, Version, list_versions
from foundation.json import dumps
from gauntlet.options import json_option, root_option
from pipeline.root.root import Root


@click.command
@root_option
@json_option("the list")
def models(root: Root, json_file: Path | None) -> None:
    """List the pushed versions with their numbers, and how each was pushed.

    The newest version is the served one. The champion, with which the next candidate is compared,
    is the model of the latest blessing; the two may differ, for instance where the serving check
    alone refused a model.
    """
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


def version_table(root: Root, pushed: list[Version]) -> Table:
    """One row a version, the oldest first."""
    table = Table(title=f"Versions in {root.serving}")
    for column in ("version", "pushed (UTC)", "clean", "worst case", "certified"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for version in pushed:
        card = version.card
        shares = (getattr(card, name) for name in MEASURED)
        notes = ["[green]serving"] if version.serving else []
        notes.append(escape(history(card)))
        if card.refused_by:
            notes.append(f"[red]refused by {escape(card.refused_by)}[/]")
        table.add_row(
            version.version,
            (card.pushed_at or "-")[:16].replace("T", " "),
            *("-" if share is None else f"{share:.2%}" for share in shares),
            "; ".join(filter(None, notes)),
        )
    return table


def history(card: Card) -> str:
    """How a version came under `serving`, where that was by hand."""
    why = f": {card.reason}" if card.reason else ""
    match card.kind:
        case PushedBy.RUN:
            return ""
        case PushedBy.ROLLBACK:
            return f"back to version {card.of}, by {card.by}{why}"
        case PushedBy.FORCED:
            return f"FORCED by {card.by}{why}"
