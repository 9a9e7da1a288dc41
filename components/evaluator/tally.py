"""The tally from which all gates are judged and all figures of a run are taken: counts of images,
with a sample of their ids.

Images that say the same count together, so the tally's size does not depend on how many there are.
TFMA adds up tallies on its workers and writes the sum among its metrics; the Evaluator puts it
beside them as `tally.json`. Knows nothing of TFMA and files; read without TensorFlow.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from components.evaluator.outcome import (
    Facts,
    ImageOutcome,
    IntArray,
    ModelOutcome,
    RowOutcome,
    image_outcome,
    row_outcomes,
)
from components.evaluator.sample import Sample
from components.records.names import CHAMPION, CLEAN, NO_BOUND, ROBUST

if TYPE_CHECKING:
    from components.records.record import Rows


class Seen(NamedTuple):
    """What a model's answers on an image come to. attacks: those of the rows that are there,
    `clean` among them. clean: right on the clean row. robust: right on all rows that are there."""

    attacks: frozenset[str]
    clean: bool
    robust: bool

    @classmethod
    def of(cls, outcome: ModelOutcome) -> "Seen":
        right = outcome.right
        return cls(frozenset(right), right.get(CLEAN, False), all(right.values()))


class Kind(NamedTuple):
    """What images have in common that are counted together. rival: what the champion's answers on
    them come to; None where there is none."""

    label: int
    seen: Seen
    certified_by: str
    rival: Seen | None


@dataclass(frozen=True, kw_only=True)
class Group:
    """Images of one kind, as they count among all images: one that lacks a row which another image
    has is wrong under that attack. The champion is never right where there is none."""

    label: int
    clean: bool
    robust: bool
    certified_by: str
    champion_clean: bool
    champion_robust: bool
    sample: Sample

    @property
    def certified(self) -> bool:
        """Proven right, and right on all rows."""
        return self.robust and self.certified_by not in ("", NO_BOUND)


@dataclass
class ModelTally:
    """The images of one model.

    kinds: images by what they have in common. wrong: by attack, the images with a row of it on
    which the model is wrong. Both have ids for the candidate only. broken_by: images by the attack
    that changed the model's answer, as in `Rows`.
    """

    kinds: dict[Kind, Sample] = field(default_factory=dict)
    wrong: dict[str, Sample] = field(default_factory=dict)
    broken_by: Counter[str] = field(default_factory=Counter)

    def add(
        self, image: Sample, label: int, outcome: ModelOutcome, rival: ModelOutcome | None
    ) -> None:
        """Count an image; `image` is a sample of one."""
        seen = Seen.of(outcome)
        kind = Kind(label, seen, outcome.certified_by, None if rival is None else Seen.of(rival))
        self.kinds.setdefault(kind, Sample()).merge(image)
        for attack, right in outcome.right.items():
            if not right:
                self.wrong.setdefault(attack, Sample()).merge(image)
        self.broken_by[outcome.broken_by] += 1

    def merge(self, other: "ModelTally") -> None:
        for kind, sample in other.kinds.items():
            self.kinds.setdefault(kind, Sample()).merge(sample)
        for attack, sample in other.wrong.items():
            self.wrong.setdefault(attack, Sample()).merge(sample)
        self.broken_by.update(other.broken_by)

    @property
    def images(self) -> int:
        return sum(sample.count for sample in self.kinds.values())

    @property
    def attacks(self) -> frozenset[str]:
        """All that any image has a row of, `clean` among them."""
        return frozenset().union(*(kind.seen.attacks for kind in self.kinds))

    @property
    def rival_attacks(self) -> frozenset[str]:
        """The same of the champion; empty where there is none."""
        return frozenset().union(*(kind.rival.attacks for kind in self.kinds if kind.rival))

    def groups(self) -> Iterator[Group]:
        """All images, those of a kind together."""
        attacks, rival_attacks = self.attacks, self.rival_attacks
        for kind, sample in self.kinds.items():
            seen, rival = kind.seen, kind.rival or Seen(frozenset(), clean=False, robust=False)
            yield Group(
                label=kind.label,
                clean=seen.clean,
                robust=seen.robust and seen.attacks == attacks,
                certified_by=kind.certified_by,
                champion_clean=rival.clean,
                champion_robust=rival.robust and rival.attacks == rival_attacks,
                sample=sample,
            )

    def where(self, holds: Callable[[Group], bool]) -> Sample:
        """The images of the groups of which something holds."""
        return Sample.union(group.sample for group in self.groups() if holds(group))

    def wrong_under(self, attack: str) -> Sample:
        """The images that are wrong under an attack, or lack its row."""
        missing = [sample for kind, sample in self.kinds.items() if attack not in kind.seen.attacks]
        return Sample.union([self.wrong.get(attack, Sample()), *missing])


@dataclass
class Tally:
    """All images.

    rows: how many there are. disagreements: rows on which the served candidate answers otherwise
    than the attacked one did. facts: what rows say of the whole artifact. models: by name, the
    candidate as `robust`; the champion where there is one.
    sentences: what each honesty check says, by its name, where that is known. not_compared: why the
    candidate was not compared with the champion, and note: what that comparison could not look at,
    where that is known.
    """

    rows: int = 0
    disagreements: int = 0
    facts: set[Facts] = field(default_factory=set)
    models: dict[str, ModelTally] = field(default_factory=dict)
    sentences: Mapping[str, str] = field(default_factory=dict)
    not_compared: str = ""
    note: str = ""

    def add(self, outcome: ImageOutcome) -> None:
        self.rows += outcome.rows
        self.disagreements += outcome.disagreements
        self.facts |= outcome.facts
        named, champion = Sample.of(1, [outcome.id]), outcome.models.get(CHAMPION)
        for name, model in outcome.models.items():
            image, rival = (named, champion) if name == ROBUST else (Sample(1), None)
            self.models.setdefault(name, ModelTally()).add(image, outcome.label, model, rival)

    def merge(self, other: "Tally") -> None:
        self.rows += other.rows
        self.disagreements += other.disagreements
        self.facts |= other.facts
        for name, model in other.models.items():
            self.models.setdefault(name, ModelTally()).merge(model)

    @property
    def subject(self) -> ModelTally:
        """The candidate's images."""
        return self.models.get(ROBUST, ModelTally())

    @property
    def faced(self) -> frozenset[str]:
        """Bounds and attacks that the candidate faced on all images."""
        return _on_all(facts.faced for facts in self.facts)

    @property
    def challenged(self) -> bool:
        """Whether all rows have a place for the champion's answer."""
        return bool(self.facts) and all(facts.challenged for facts in self.facts)

    @property
    def passed(self) -> frozenset[str]:
        """Honesty checks that passed on all rows."""
        return _on_all(facts.passed for facts in self.facts)

    @property
    def failed(self) -> frozenset[str]:
        """Honesty checks that failed on any row."""
        return frozenset().union(*(_names(facts.failed) for facts in self.facts))

    def to_json(self) -> str:
        """The tally as JSON, without what only files beside the rows say."""
        models = {name: _plain_model(model) for name, model in self.models.items()}
        plain = {
            "rows": self.rows,
            "disagreements": self.disagreements,
            "facts": [facts._asdict() for facts in sorted(self.facts)],
            "models": models,
        }
        return json.dumps(plain, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Tally":
        """Inverse of `to_json`."""
        plain = json.loads(text)
        return cls(
            rows=plain["rows"],
            disagreements=plain["disagreements"],
            facts={Facts(**facts) for facts in plain["facts"]},
            models={name: _model_of(model) for name, model in plain["models"].items()},
        )


def _plain_model(model: ModelTally) -> dict[str, Any]:
    kinds = []
    for kind, sample in model.kinds.items():
        rival = kind.rival and _plain_seen(kind.rival)
        kinds.append(
            kind._asdict() | {"seen": _plain_seen(kind.seen), "rival": rival} | _plain(sample)
        )
    wrong = {attack: _plain(sample) for attack, sample in model.wrong.items()}
    return {"kinds": kinds, "wrong": wrong, "broken_by": dict(model.broken_by)}


def _plain_seen(seen: Seen) -> dict[str, Any]:
    return seen._asdict() | {"attacks": sorted(seen.attacks)}


def _plain(sample: Sample) -> dict[str, Any]:
    return {"count": sample.count, "ids": sample.ids}


def _model_of(plain: dict[str, Any]) -> ModelTally:
    kinds = {
        Kind(
            label=kind["label"],
            seen=_seen_of(kind["seen"]),
            certified_by=kind["certified_by"],
            rival=kind["rival"] and _seen_of(kind["rival"]),
        ): Sample.of(kind["count"], kind["ids"])
        for kind in plain["kinds"]
    }
    wrong = {attack: Sample.of(**sample) for attack, sample in plain["wrong"].items()}
    return ModelTally(kinds, wrong, Counter(plain["broken_by"]))


def _seen_of(plain: dict[str, Any]) -> Seen:
    return Seen(**plain | {"attacks": frozenset(plain["attacks"])})


def _names(text: str) -> frozenset[str]:
    """Names with commas between them."""
    return frozenset(filter(None, text.split(",")))


def _on_all(texts: Iterable[str]) -> frozenset[str]:
    """Names that every text has; none where there is no text."""
    names = [_names(text) for text in texts]
    return frozenset.intersection(*names) if names else frozenset()


def tally(rows: "Rows", served: IntArray | None = None) -> Tally:
    """The tally of rows in memory, which need no order. served: classes that the candidate gives as
    it is served; None where nobody asked it."""
    images: dict[bytes, list[RowOutcome]] = {}
    for identity, row in row_outcomes(rows, served):
        images.setdefault(identity, []).append(row)
    counted = Tally()
    for identity, outcomes in images.items():
        counted.add(image_outcome(identity, outcomes))
    return counted
