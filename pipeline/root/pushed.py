"""What the metadata know of pushed models, with which the cards of the versions are compared.

A model is the one that a card means when it lies at the same address and its judged files have the
same digest: numbers and addresses begin again where the metadata were lost. Read without TFX.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from components.binding import ACCOUNT, WRITTEN
from components.changes import Change, Signature
from components.evaluator.explained import read_explanations
from components.journal import Entry
from components.manifest import MODEL_SHA256
from components.versions import (
    MEASURED,
    NEVER_BLESSED,
    UNKNOWN,
    Card,
    PushedBy,
    Version,
    address_of,
)
from pipeline.root.blessings import judged, model_of, text_in, was_blessed, withdrawal


class Records:
    """Models, their blessings and their pushes. `blessings`: of all models."""

    def __init__(self, store: MetadataStore) -> None:
        self.blessings: list[mlmd.Artifact] = store.get_artifacts_by_type("ModelBlessing")
        pushed = store.get_artifacts_by_type("PushedModel")
        self._models = {address_of(a): a.id for a in store.get_artifacts_by_type("Model")}
        self._pushed = {
            text_in(artifact, "pushed_version"): text_in(artifact, MODEL_SHA256)
            for artifact in pushed
        }
        self._terms: dict[str, Any] = {
            text_in(artifact, "pushed_version"): terms
            for artifact in pushed
            if WRITTEN in artifact.custom_properties
            and (terms := json.loads(text_in(artifact, ACCOUNT) or "{}").get("terms"))
        }

    def model_of(self, card: Card) -> int | None:
        """Id of the model that a card means; None where the metadata do not know it."""
        model = self._models.get(card.model)
        return model if model is not None and self._means(card, model) else None

    def contradiction(self, version: Version) -> str:
        """How the card of a version differs from what is known of its model and of its push; ''
        where it does not."""
        card = version.card
        pushed = self._pushed.get(version.version)
        if pushed and card.manifest_sha256 != pushed:
            return "it is not what was pushed, as the metadata have it"
        model = self._models.get(card.model)
        if model is None:
            return UNKNOWN
        if not self._means(card, model):
            return "it is not the model that was judged, as the metadata have it"
        own = [blessing for blessing in self.blessings if model_of(blessing) == model]
        if not any(was_blessed(blessing) for blessing in own):
            return NEVER_BLESSED
        terms = self._terms.get(version.version)
        if terms and card.terms != terms:
            return (
                "its card is forged: its terms are not those of its run, as the metadata have them"
            )
        return _other_figures(card, own)

    def is_withdrawn(self, version: Version) -> bool:
        """Whether somebody went back from the model of a version since that was pushed."""
        model = self.model_of(version.card)
        own = [b for b in self.blessings if model_of(b) == model and was_blessed(b)]
        withdrawn = [signature.at for blessing in own if (signature := withdrawal(blessing))]
        if not own or len(withdrawn) < len(own):
            return False
        pushed_at, last = version.card.pushed_at or "", max(withdrawn)
        if version.card.kind is PushedBy.ROLLBACK:  # perhaps the one in that very second
            return pushed_at < last
        return pushed_at <= last

    def entry(self, blessing: mlmd.Artifact, what: Change, signature: Signature) -> Entry:
        """What the journal keeps of the change of a blessing."""
        addresses = {number: address for address, number in self._models.items()}
        return Entry(
            what=what,
            model=addresses.get(model_of(blessing), ""),
            model_sha256=judged(blessing),
            **dataclasses.asdict(signature),
        )

    def _means(self, card: Card, model: int) -> bool:
        """Whether a card means the model at its address: by digest; by number where no judge noted
        one, or it is of before there were digests."""
        digests = {judged(b) for b in self.blessings if model_of(b) == model} - {""}
        return card.manifest_sha256 in digests if digests else card.model_id in (0, model)


def _other_figures(card: Card, blessings: Iterable[mlmd.Artifact]) -> str:
    """How a card's figures differ from what the gates measured, in any of the evaluations."""
    figures = [found for blessing in blessings if (found := measured_by(blessing.uri)) is not None]
    ours = {name: getattr(card, name) for name in MEASURED}
    if not figures or ours in figures:
        return ""
    theirs = figures[-1]
    return "its card is forged: " + ", ".join(
        f"{name} {_share(ours[name])}, the gates measured {_share(theirs[name])}"
        for name in MEASURED
        if ours[name] != theirs[name]
    )


def measured_by(blessing: str) -> dict[str, float | None] | None:
    """What the gates measured; None where that is gone."""
    try:
        values = {gate.name: gate.value for gate in read_explanations(blessing)}
    except (OSError, ValueError):
        return None
    return {name: values.get(name) for name in MEASURED}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
