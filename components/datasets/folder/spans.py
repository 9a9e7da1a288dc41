"""Deliveries of data: folders `span-1`, `span-2` and so on, or `span-2026-11-01`."""

import datetime
import re
from pathlib import Path

from components.datasets.folder.layout import folders
from components.datasets.folder.names import readable
from foundation.errors import DataError

SPAN = "span-"
"""How the name of a span's folder begins; its number or date follows."""

DIGITS = 16
"""A number has fewer: it must fit into the metadata."""

DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")

EXPECTED = "expected span-N or span-YYYY-MM-DD"

LIKE_A_SPAN = re.compile(r"spans?[\W_]*[0-9x?].*|span[\W_].*", re.IGNORECASE)
"""Names that somebody may have meant for a span's."""


def number(name: str) -> int | None:
    """The number in the name of a span's folder: N of `span-N`, YYYYMMDD of `span-YYYY-MM-DD`; None
    where it is no such name."""
    text = name.removeprefix(SPAN)
    if text == name or not text.isascii():
        return None
    if text.isdigit():
        return int(text) or None if len(text) < DIGITS else None
    try:
        datetime.datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        return None
    return int(text.replace("-", "")) if DATE.fullmatch(text) else None


def spans(dataset: str) -> dict[int, Path]:
    """The spans in a folder of spans, in order; empty for any other folder.

    Raises:
        DataError: two folders have the same number, some have numbers and some dates, or there are
            splits beside the spans.
    """
    root = Path(dataset).expanduser().absolute()
    names = folders(root) if root.is_dir() else []
    found: dict[int, Path] = {}
    for name in names:
        if (span := number(name)) is None:
            continue
        if (other := found.setdefault(span, root / name)).name != name:
            raise DataError(
                f"{readable(root)}: {other.name} and {name} are the same span, {span}; expected "
                "one folder for each: rename or remove one"
            )
    if not found:
        return found
    kinds = {"-" in path.name.removeprefix(SPAN) for path in found.values()}
    if len(kinds) > 1:
        raise DataError(
            f"{readable(root)} has spans with numbers and spans with dates: "
            f"{', '.join(path.name for path in found.values())}; their order is unknown: name all "
            "of them alike"
        )
    if beside := {"train", "test"} & set(names):
        raise DataError(
            f"{readable(root)} has spans and, beside them, {' and '.join(sorted(beside))}; "
            "expected one of both: move these into a span"
        )
    return dict(sorted(found.items()))


def doubtful(root: Path) -> list[str]:
    """Names in a folder of spans that look like spans and are none."""
    return [
        path.name
        for path in sorted(root.iterdir())
        if LIKE_A_SPAN.fullmatch(path.name) and (number(path.name) is None or not path.is_dir())
    ]


def note(folder: Path) -> str | None:
    """Which span a folder is, and what beside it looks like one; None where it is none."""
    if number(folder.name) is None:
        return None
    names = [path.name for path in spans(str(folder.parent)).values()]
    passed = ", ".join(map(readable, doubtful(folder.parent)))
    newest = folder.name == names[-1]
    place = f"the newest of {len(names)}" if newest else f"not the newest, which is {names[-1]}"
    expected = f"; not understood, and passed over: {passed} ({EXPECTED})"
    return f"{folder.name} is {place}" + (expected if passed else "")
