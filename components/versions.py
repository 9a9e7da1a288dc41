"""Pushed versions: what a folder of numbered versions holds, and the card that each carries.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pydantic
from etils import epath

from foundation.errors import RunError
from foundation.events import phase
from foundation.versions import STORED_AT, versions

if TYPE_CHECKING:
    from tfx.types.artifact import Artifact

CARD = "assets.extra/gauntlet.json"
"""File in a pushed version with its card."""

MEASURED = ("clean", "worst_case", "certified")
"""Gates whose values a card holds."""


class PushedBy(StrEnum):
    """How a version came under `serving`."""

    RUN = "run"
    ROLLBACK = "rollback"
    FORCED = "forced"
    REPLACED = "replaced"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a pushed version says of itself.

    model, model_id: URI and id of its artifact; empty and 0 where a version has no card.
    clean, worst_case, certified: as its gates measured them.
    kind: how it came here. run_id: the run that pushed it, or that refused it. pushed_at: UTC.
    class_names: in label order; empty where nobody knows them. not_compared: why the model was not
        compared with the champion, where the gates asked for that.
    of: the version that a rollback serves again. by, at, reason: who, when and why, of a rollback,
        of a forced push, of a weaker policy and of another purpose. refused_by: the gates that a
        forced push overrode.
    terms, terms_sha256: purpose and policy under which the model was judged, and the digest of
        their file. lowered: how they are weaker than those of the root, where that was forced.
    manifest_sha256: digest of the list of all other files of the version.
    seed, code: of the run that trained the model.
    """

    model: str = ""
    model_id: int = 0
    clean: float | None = None
    worst_case: float | None = None
    certified: float | None = None
    class_names: tuple[str, ...] = ()
    not_compared: str | None = None
    kind: PushedBy = PushedBy.RUN
    run_id: str | None = None
    pushed_at: str | None = None
    of: str | None = None
    by: str | None = None
    at: str | None = None
    reason: str | None = None
    refused_by: str | None = None
    terms: dict[str, Any] | None = None
    terms_sha256: str | None = None
    lowered: tuple[str, ...] = ()
    manifest_sha256: str | None = None
    seed: int | None = None
    code: str | None = None

    def plain(self) -> dict[str, Any]:
        """What the card says, by name: what does not apply to its kind is left out."""
        values = dataclasses.asdict(self).items()
        return {
            name: value for name, value in values if value not in (None, ()) or name in MEASURED
        }


@dataclass(frozen=True, kw_only=True)
class Version:
    """A pushed version: its number, whether it is the one that is served, and its card."""

    version: str
    serving: bool
    card: Card

    def plain(self) -> dict[str, Any]:
        """One entry of the listing as JSON has it."""
        return {"version": self.version, "serving": self.serving} | self.card.plain()


def address_of(model: "Artifact") -> str:
    """By what a card names a model: where it lies in its store, wherever its files were brought."""
    return str(model.get_string_custom_property(STORED_AT) or model.uri)


def read_card(version: str) -> Card:
    """The card in a version's folder; an empty one where there is none. Raises RunError where it is
    damaged."""
    card = epath.Path(version) / CARD
    if not card.exists():
        return Card()
    try:
        content = json.loads(card.read_text())
        known = {field.name for field in dataclasses.fields(Card)} & content.keys()
        return pydantic.TypeAdapter(Card).validate_python({name: content[name] for name in known})
    except (ValueError, AttributeError, RecursionError) as error:
        reason = str(error).replace("\n", " ")
        raise RunError(f"the card of version {version} is damaged ({card}): {reason}") from error


def list_versions(base: str) -> list[Version]:
    """All pushed versions, oldest first; the last is served."""
    known = versions(base)
    return [
        Version(version=version, serving=version == known[-1], card=read_card(f"{base}/{version}"))
        for version in known
    ]


def list_store(base: str) -> list[Version]:
    """The same for a process of its own, because an object store is read with TensorFlow."""
    with phase("read the store"):
        return list_versions(base)


def withdrawn_by(base: str, model: str) -> Card | None:
    """The card of the rollback that took a model out of service; None where none did, or where the
    model has been served again since.

    A rollback takes out all models that were first pushed after the one that it serves again; the
    same that lose their blessing in a root. model: URI of the model's artifact.
    """
    first: dict[str, int] = {}
    withdrawn: dict[str, Card] = {}
    for version in list_versions(base):
        card = version.card
        if card.kind is PushedBy.ROLLBACK:
            back = first.setdefault(card.model, int(card.of or 0))
            later = [each for each, number in first.items() if number > back]
            withdrawn |= dict.fromkeys(later, card)
        first.setdefault(card.model, int(version.version))
        withdrawn.pop(card.model, None)
    return withdrawn.get(model)
