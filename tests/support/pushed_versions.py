"""Folders of pushed versions, of which only the cards matter."""

from pathlib import Path

from components.versions import CARD, Card
from foundation.json import dumps

PASSED = Card(
    model="artifacts/model/3",
    model_id=3,
    clean=0.97,
    worst_case=0.8312,
    certified=None,
    run_id="20261127-080000-123456",
    pushed_at="2026-11-27T08:00:00Z",
)


def push(root: Path, version: str, card: Card | None = PASSED) -> None:
    """A version below `serving`; without a card where it is None."""
    folder = root / "serving" / version
    (folder / CARD).parent.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    if card:
        (folder / CARD).write_text(dumps(card.plain()))
