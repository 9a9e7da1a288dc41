"""The table of pushed versions."""

from rich.markup import escape
from rich.table import Table

from components.versions import MEASURED, Card, PushedBy, Version


def version_table(serving: str, pushed: list[Version]) -> Table:
    """One row a version, the oldest first. serving: folder of the versions."""
    table = Table(title=escape(f"Versions in {serving}"))
    for column in ("version", "pushed (UTC)", "clean", "worst case", "certified"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for version in pushed:
        card = version.card
        shares = (getattr(card, name) for name in MEASURED)
        notes = ["[green]serving"] if version.serving else []
        notes.append(escape(history(card)))
        if card.not_compared:
            notes.append(escape(f"not compared: {card.not_compared}"))
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
