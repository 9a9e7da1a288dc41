"""The tables of pushed versions and of the journal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from components.journal import Entry
from components.versions import MEASURED, Card, PushedBy, Version
from robustness.config import shown_epsilon

FIXED = ("pushed (UTC)", "clean", "worst case", "certified")
"""Columns of every table; others are there where a version has something for them."""

COLUMNS = ("for", "pushed (UTC)", "clean", "worst case", "to best", "certified")


def version_table(serving: str, pushed: list[Version], known: Iterable[Card] = ()) -> Group:
    """One row a version, the oldest first, and below what is to be said of each.

    What all models are for stands in the title.

    serving: folder of the versions. known: cards of versions that are gone by now.
    """
    known = [*known, *(version.card for version in pushed if not version.problem)]
    rows = {version.version: columns_of(version.card, known) for version in pushed}
    title, purposes = f"Versions in {serving}", {row.get("for", "") for row in rows.values()}
    if len(purposes) == 1 and (common := purposes.pop()):
        title = f"{title}, for {common}"
        for row in rows.values():
            del row["for"]
    table = Table(title=escape(title))
    names = [name for name in COLUMNS if name in FIXED or any(name in row for row in rows.values())]
    for name in ("version", *names):
        table.add_column(name, justify="right", no_wrap=name != "for", overflow="fold")
    for version in pushed:
        table.add_row(version.version, *(rows[version.version].get(name, "-") for name in names))
    remarks = [(each.version, "; ".join(filter(None, notes(each)))) for each in pushed]
    return Group(
        table, *(Text.from_markup(f"{number}: {said}") for number, said in remarks if said)
    )


def columns_of(card: Card, known: Iterable[Card]) -> dict[str, str]:
    """What is known of a version, by column. known: cards of all versions."""
    cells = {name.replace("_", " "): share_of(getattr(card, name)) for name in MEASURED}
    if card.pushed_at:
        cells["pushed (UTC)"] = card.pushed_at[:16].replace("T", " ")
    if purpose := purpose_of(card):
        cells["for"] = escape("{dataset}, {norm}, epsilon {epsilon}".format_map(readable(purpose)))
        cells["to best"] = to_best(card, known)
    return cells


def notes(version: Version) -> list[str]:
    """What is to be said of a version beside its figures."""
    card = version.card
    serving = "[green]serving[/]" if version.serving else ""
    damaged = "[red]DAMAGED:[/] " if version.damaged else "[yellow]not to be served again:[/] "
    problem = f"{damaged}{escape(version.problem)}" if version.problem else ""
    unverified = (
        "" if version.problem or card.manifest_sha256 else "files not verified: no manifest"
    )
    not_compared = f"not compared: {escape(card.not_compared)}" if card.not_compared else ""
    refused = f"[red]refused by {escape(card.refused_by)}[/]" if card.refused_by else ""
    lowered = f"[red]under weaker terms: {escape(', '.join(card.lowered))}[/]" * bool(card.lowered)
    return [
        serving, problem, unverified, escape(history(card)), not_compared, refused, lowered,
    ]  # fmt: skip


def history(card: Card) -> str:
    """How a version came under `serving`, where that was by hand."""
    why = f": {card.reason}" if card.reason else ""
    match card.kind:
        case PushedBy.RUN:
            return f"by {card.by}{why}" if card.lowered else ""
        case PushedBy.ROLLBACK:
            return f"back to version {card.of}, by {card.by}{why}"
        case PushedBy.FORCED:
            return f"FORCED by {card.by}{why}"
        case PushedBy.REPLACED:
            return f"ANOTHER {'PURPOSE' if card.replaced else 'POLICY'} by {card.by}{why}"


class Known(dict[str, Any]):
    """What a card says, and a dash for what it does not."""

    def __missing__(self, name: str) -> str:
        return "-"


def readable(purpose: dict[str, Any]) -> Known:
    """A purpose as a person reads it."""
    known = Known(purpose)
    if isinstance(epsilon := purpose.get("epsilon"), float):
        known["epsilon"] = shown_epsilon(epsilon)
    return known


def purpose_of(card: Card) -> dict[str, Any] | None:
    """What the model is for, where its card says it."""
    purpose = (card.terms or {}).get("purpose")
    return purpose if isinstance(purpose, dict) else None


def to_best(card: Card, others: Iterable[Card]) -> str:
    """The difference of the worst case to the best one ever pushed for the same purpose."""
    purpose = purpose_of(card)
    if purpose is None or card.worst_case is None:
        return "-"
    same = [other for other in others if purpose_of(other) == purpose]
    best = max((each.worst_case for each in same if each.worst_case is not None), default=None)
    return "-" if best is None else f"{card.worst_case - best:+.2%}"


def share_of(value: float | None) -> str:
    """A share, or a dash where it is not known."""
    return "-" if value is None else f"{value:.2%}"


def journal_table(serving: str, entries: Iterable[Entry]) -> Table:
    """One row an entry, the oldest first. serving: folder of the versions."""
    table = Table(title=escape(f"Journal of {serving}"))
    for column in ("at (UTC)", "what", "version", "model", "by", "reason"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        version = entry.version or ("begun" if entry.card else "-")
        model = f"{entry.model} {entry.model_sha256[:12]}".strip()
        cells = (
            entry.at[:19].replace("T", " "),
            entry.what,
            version,
            model,
            entry.by,
            entry.reason,
        )
        table.add_row(*map(escape, cells))
    return table
