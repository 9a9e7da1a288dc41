"""Names of classes in label order: how exports and spans carry them, and how two lists differ.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from etils import epath

from foundation.errors import DataError

CLASS_NAMES = "class_names.txt"
"""File with one name a line: an asset of an export, and beside the statistics of a span."""

NO_PART_OF_A_NAME = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what ends a line, steers a terminal, or is no character."""

SHOWN = 5
"""Names that a sentence lists."""


def wrong_names(names: Sequence[str]) -> str:
    """What makes a list of names unusable, '' for a good one."""
    for name in names:
        if not name or name != name.strip():
            return f"{name!r} is empty, or begins or ends with a space"
        if any(unicodedata.category(character) in NO_PART_OF_A_NAME for character in name):
            return f"{name!r} has a control character, or is no valid Unicode"
    times = Counter(unicodedata.normalize("NFC", name) for name in names)
    twice = [name for name, count in times.items() if count > 1]
    return f"{_listed(twice)} comes twice" if twice else ""


def file_of(names: Sequence[str]) -> bytes:
    """The content of the file with names."""
    return "".join(f"{name}\n" for name in names).encode()


def read_names(folder: str) -> tuple[str, ...]:
    """The names in a folder's file, in label order; empty where there is no such file.

    Raises:
        DataError: it is damaged.
    """
    file = epath.Path(folder) / CLASS_NAMES
    if not file.exists():
        return ()
    try:
        *names, rest = file.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is damaged: it is no text in UTF-8") from error
    if problem := "it is cut off" if rest or not names else wrong_names(names):
        raise DataError(f"{file} is damaged: {problem}")
    return tuple(names)


@dataclass(frozen=True, kw_only=True)
class Classes:
    """What is known of somebody's classes. names: in label order, empty where nobody has kept
    them. count: None where that is not known either."""

    names: tuple[str, ...] = ()
    count: int | None = None

    @classmethod
    def of(cls, names: Sequence[str]) -> "Classes":
        return cls(names=tuple(names), count=len(names) or None)


def classes_of(export: str) -> Classes:
    """The classes of an exported model; what versions before this one exported has no names.

    export: folder of the SavedModel.
    """
    names = class_names_of(export)
    return Classes.of(names) if names else Classes(count=_count_in_settings(export))


def differences(before: Classes, now: Classes) -> str:
    """How classes differ from earlier ones, in words; '' where they do not. Without names on either
    side only their numbers are compared."""
    if before.names and now.names:
        return changes(before.names, now.names)
    if None in (before.count, now.count) or before.count == now.count:
        return ""
    return f"there were {before.count} classes, now there are {now.count}"


def class_names_of(export: str) -> tuple[str, ...]:
    """The names of an exported model's classes, in label order; empty where they are unknown.

    export: folder of the SavedModel.
    """
    return read_names(f"{export}/assets")


def changes(before: Sequence[str], now: Sequence[str]) -> str:
    """How a list of classes differs from an earlier one, in words; '' where it does not.

    The same name in another form of Unicode is the same: systems differ in how they write it.
    """
    old, new = normalised(before), normalised(now)
    if old == new:
        return ""
    known, wanted = set(old), set(new)
    gone = [name for name in old if name not in wanted]
    come = [name for name in new if name not in known]
    if known == wanted:
        moved = next(label for label, name in enumerate(new) if name != old[label])
        return f"they are in another order: label {moved} was {old[moved]} and is {new[moved]}"
    parts = [(gone, "gone"), (come, "new")]
    return ", ".join(
        f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in parts
        if names
    )


def normalised(names: Sequence[str]) -> tuple[str, ...]:
    """The names in one form of Unicode (NFC)."""
    return tuple(unicodedata.normalize("NFC", name) for name in names)


def shown(label: int, names: Sequence[str]) -> str:
    """A label with its name, where that is known and says more: `7 (Sneaker)`."""
    name = names[label] if 0 <= label < len(names) else str(label)
    return str(label) if name == str(label) else f"{label} ({name})"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    quoted = [f'"{name}"' if "," in name else name for name in names[:SHOWN]]
    return f"{', '.join(quoted)}{more}"


def _count_in_settings(export: str) -> int | None:
    """The number of an exported model's classes, as its settings say; None where these do not."""
    file = epath.Path(export) / "assets.extra" / "settings.json"
    if not file.exists():
        return None
    try:
        count = json.loads(file.read_bytes())["classes"]
    except (ValueError, KeyError, TypeError):
        return None
    return count if isinstance(count, int) else None
