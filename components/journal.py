"""The journal beside the versions: a line for all that was done there, which is only ever added to.

A line is written before a version appears, and another one when it has: whoever is killed between
the two leaves what the next one completes. An object store has no file that can be added to: there
is no journal, and its own log has the changes. Read without TensorFlow.
"""

import dataclasses
import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from foundation.json import Document, dumps
from foundation.rights import give, of_file
from foundation.versions import is_number
from foundation.whole import sync

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line.

    what: how a version came there (`components.versions.PushedBy`), what was done to a blessing
        (`components.changes.Change`), or `clean`.
    by, at, reason: who did it, when (UTC) and why.
    version: its number; empty where the line was written before it was there.
    model, model_sha256: address and digest of the model.
    card, card_sha256: content of the version's card, and digest of the file.
    """

    what: str
    by: str = ""
    at: str = ""
    reason: str = ""
    version: str = ""
    model: str = ""
    model_sha256: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    card_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Journal(Document, schema="journal/1"):
    """What was done, the oldest first. damaged: numbers of lines that cannot be read."""

    entries: tuple[Entry, ...] = ()
    damaged: tuple[int, ...] = ()

    def of(self, version: str, card_sha256: str = "") -> Entry | None:
        """The line on a version: what was noted when it was there; otherwise, by the digest of its
        card, which no other push has, what was noted before, where that push is not done."""
        for entry in reversed(self.entries):
            if entry.version == version:
                return entry
        about = self.about(card_sha256)
        return about[-1] if about and not any(entry.version for entry in about) else None

    def about(self, card_sha256: str) -> list[Entry]:
        """The lines with that digest of a card."""
        return [entry for entry in self.entries if card_sha256 and entry.card_sha256 == card_sha256]

    @property
    def begin(self) -> int | None:
        """The first version that it knows."""
        return min((int(entry.version) for entry in self.entries if entry.version), default=None)


def append(serving: str, entry: Entry | Mapping[str, Any]) -> None:
    """Add a line, and bring it to the disk. serving: folder of the versions."""
    if "://" in serving:
        return
    content = dataclasses.asdict(entry) if isinstance(entry, Entry) else entry
    kept = {name: value for name, value in content.items() if value not in ("", {}, None)}
    line = f"{dumps(kept, indent=None)}\n".encode()
    file = Path(serving) / JOURNAL
    is_new = not file.exists()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            give(descriptor, of_file(file.parent))
        cut = size and os.pread(descriptor, 1, size - 1) != b"\n"  # by a power cut
        written = b"\n" * bool(cut) + line
        if os.write(descriptor, written) < len(written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        sync(file.parent)


def read(serving: str) -> Journal:
    """The journal of a folder of versions; an empty one where there is none."""
    file = Path(serving) / JOURNAL
    if "://" in serving or not file.exists():
        return Journal()
    entries, damaged = [], []
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            entries.append(_entry(line))
        except (ValueError, RecursionError):
            damaged.append(number)
    return Journal(entries=tuple(entries), damaged=tuple(damaged))


def _entry(line: bytes) -> Entry:
    """Raises ValueError for what is no entry."""
    content = json.loads(line)
    if not isinstance(content, dict) or not _is_version(content.get("version", "")):
        raise ValueError("no entry")
    known = {each.name for each in dataclasses.fields(Entry)} & content.keys()
    chosen = {name: content[name] for name in known}
    return pydantic.TypeAdapter(Entry).validate_python(chosen)


def _is_version(text: object) -> bool:
    return text == "" or (isinstance(text, str) and is_number(text))
