"""Names of files and classes: as people can read them, and in the order that people expect."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from foundation.errors import RefusedData

LEFTOVERS = frozenset(
    (
        "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "#recycle",
        "#snapshot", "$recycle.bin", "system volume information", "lost+found",
    )
)  # fmt: skip
"""What other systems leave in folders, in small letters; so are all names that begin with a dot."""


def is_leftover(name: str) -> bool:
    """Whether a name is that of something which another system left, and no data."""
    return name.startswith(".") or name.lower() in LEFTOVERS


def readable(name: str | Path) -> str:
    """A name on one line, in UTF-8: whatever cannot be shown is escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_utf8(name: str | Path) -> bool:
    """Whether a name, as the operating system gives it, is UTF-8."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def in_order(names: Iterable[str], place: str) -> list[str]:
    """Names of classes in the order of their labels: as numbers where all are whole numbers,
    otherwise as text.

    place: where they come from, for messages.

    Raises:
        DataError: a name that cannot be kept, or two that are one to most readers, such as 1 and
            01, or Cat and cat.
    """
    found = sorted(names)
    for name in found:
        if not is_utf8(name) or not name.isprintable() or name != name.strip():
            raise RefusedData(
                f"{place}: the name of the class {readable(name)!r} cannot be kept; expected UTF-8 "
                "on one line without blanks around it: rename its folder"
            )
    whole = all(name.isascii() and name.isdigit() for name in found)
    alike: dict[int | str, str] = {}
    for name in found:
        key = int(name) if whole else unicodedata.normalize("NFKC", name).casefold()
        if (other := alike.setdefault(key, name)) != name:
            same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
            looks = f" (both look like {readable(name)}, in two forms of Unicode)" if same else ""
            raise RefusedData(
                f"{place}: the classes {other!a} and {name!a} differ in spelling only{looks}; "
                "expected one folder for each class: bring them together, or rename one"
            )
    return sorted(found, key=int) if whole else found
