"""What was cleaned, as a table."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.root.cleaning import Cleaned


def print_cleaned(cleaned: Cleaned, console: Console) -> None:
    """One row a kind, the sum, and what stays because nobody knows it."""
    verb = "would be removed" if cleaned.dry_run else "removed"
    if cleaned.removed:
        table = Table(title=verb.capitalize())
        for column in ("", "number", "size"):
            table.add_column(column, justify="right" if column else "left")
        for what in dict.fromkeys(each.what for each in cleaned.removed):
            sizes = [each.size for each in cleaned.removed if each.what == what]
            table.add_row(what, f"{len(sizes):,}", megabytes(sum(sizes)))
        console.print(table)
    for path in cleaned.unknown:
        told(console, f"not known, and left alone: {path}")
    runs = ", ".join(cleaned.runs) or "none"
    told(console, f"{megabytes(cleaned.size)} {verb}; runs that are kept: {runs}")


def told(console: Console, text: str) -> None:
    """A line as it is, however narrow the terminal."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def megabytes(size: int) -> str:
    """A size on the disk."""
    return f"{size / 2**20:,.1f} MB"
