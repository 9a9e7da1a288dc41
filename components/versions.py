"""Pushed versions: numbered folders, of which a server takes the highest, and the card that each
carries.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import json
from typing import Any

from etils import epath

CARD = "assets.extra/gauntlet.json"
"""File in a pushed version that says what it is; see `read_card`."""


def versions(base: str) -> list[str]:
    """The pushed versions, oldest first; the last is the one that TensorFlow Serving loads."""
    folder = epath.Path(base)
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    return sorted((name for name in names if name.isdigit()), key=int)


def newest_version(base: str) -> str | None:
    """The version that is being served."""
    return next(reversed(versions(base)), None)


def read_card(version: str) -> dict[str, Any]:
    """What a pushed version says of itself.

    `model` and `model_id` (its artifact), `clean`, `worst_case` and `certified` as its gates
    measured them, `pushed_at`, and `kind`: `run`, `rollback` or `forced`, with what belongs to it.
        Empty where there is no card.
    """
    card = epath.Path(version) / CARD
    return dict(json.loads(card.read_text())) if card.exists() else {}


def list_versions(base: str) -> list[dict[str, Any]]:
    """All pushed versions, oldest first: `version`, `serving` (true for the last), and their
    cards."""
    known = versions(base)
    return [
        {"version": version, "serving": version == known[-1]} | read_card(f"{base}/{version}")
        for version in known
    ]
