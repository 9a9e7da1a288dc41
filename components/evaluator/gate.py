"""The gates: each is one object that asks, measures the tally, and says what it found.

A share of images is judged on the lower end of its interval, so that a lucky sample rarely passes;
an upper bound on the upper end. What could not be measured is not a number, and refuses. To add a
gate, add its class here, its setting to `GatesConfig`, and a line to `components.evaluator.asked`;
so that it is one place, this file is longer than others. Knows nothing of TFMA; read without
TensorFlow.
"""

import abc
import bisect
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

from components.evaluator.finding import (
    NOT_MEASURED,
    Finding,
    confidence_interval,
    counted,
    sign_test,
)
from components.evaluator.sample import Sample
from components.evaluator.tally import Group, Tally
from components.records.names import CLEAN, Origin
from robustness.config import CheckName
from robustness.tolerance import CHANCE_SLACK, TOLERANCE, allowed, enough
from trainer.classes import shown as shown_label

BEST = "best"
"""Name of the gate on the loss to the best worst case."""

MOST = 10**9
"""Images: no test split has more."""


class Op(StrEnum):
    """On which side of its bound a value must lie."""

    AT_LEAST = ">="
    AT_MOST = "<="


@dataclass(frozen=True, kw_only=True)
class Gate(abc.ABC):
    """One condition on the candidate: a quantity, and the bound on the value by which it is judged.

    argument: names that the quantity is about; its class says which.
    """

    classes: ClassVar[dict[str, type["Gate"]]] = {}
    """All classes of gates by the name of their quantity."""

    op: ClassVar[Op]
    of_all: ClassVar[bool] = False
    """Whether it is about a share of all images."""
    quantity: ClassVar[str]

    name: str
    bound: float
    argument: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls.quantity = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        Gate.classes[cls.quantity] = cls

    def plain(self) -> dict[str, Any]:
        """The gate as JSON can hold it."""
        return {
            "name": self.name,
            "quantity": self.quantity,
            "bound": self.bound,
            "op": str(self.op),
            "argument": list(self.argument),
        }

    @staticmethod
    def of(plain: dict[str, Any]) -> "Gate":
        """Inverse of `plain`."""
        gate = Gate.classes[plain["quantity"]]
        return gate(name=plain["name"], bound=plain["bound"], argument=tuple(plain["argument"]))

    def holds(self, compared: float) -> bool:
        """Whether a value passes; what is not a number does not."""
        holds = operator.ge if self.op is Op.AT_LEAST else operator.le
        return bool(holds(compared, self.bound))

    def measure(self, tally: Tally) -> Finding:
        """What the tally says."""
        return self._measure(tally) if tally.subject.images else NOT_MEASURED

    def images_to_change(self, finding: Finding) -> int | None:
        """How many more images must be right for the gate to hold; None where that would not do."""
        if finding.if_corrected is None or finding.images_against is None:
            return None
        compared, most = finding.if_corrected, finding.images_against
        needed = bisect.bisect_left(
            range(most + 1), True, key=lambda images: self.holds(compared(images))
        )
        return needed if needed <= most else None

    def beyond(self, labels: Mapping[int, int]) -> str:
        """Why no model can pass on so few images; '' where one can.

        labels: how many images each class has.
        """
        return out_of_reach(self, sum(labels.values())) if self.of_all else ""

    @abc.abstractmethod
    def asks(self) -> str:
        """The condition in words."""

    @abc.abstractmethod
    def _measure(self, tally: Tally) -> Finding:
        """What a tally of at least one image says."""


def share(gate: Gate, images: str, n: int, against: Sample, meaning: str) -> Finding:
    """The finding on a share of images: of those for the candidate, or where the bound is an upper
    one of those against it.

    Args:
        gate: whose.
        images: which images.
        n: how many they are.
        against: those of them that speak against the candidate.
        meaning: what is true of the share.
    """
    upper = gate.op is Op.AT_MOST

    def measured(corrected: int) -> tuple[int, tuple[float, float]]:
        bad = against.count - corrected
        k = bad if upper else n - bad
        return k, confidence_interval(k, n)

    k, (low, high) = measured(0)
    asked = f"; the {'upper' if upper else 'lower'} end must be {gate.op} {gate.bound:.2%}"
    asked = asked if upper or gate.bound else ""
    return Finding(
        value=k / n,
        compared=high if upper else low,
        interval=(low, high),
        images_against=against.count,
        ids=against.ids,
        if_corrected=lambda corrected: measured(corrected)[1][upper],
        sentence=(
            f"{k / n:.2%} of {images} (95 % interval {low:.2%} to {high:.2%}) {meaning}"
            f"{asked}.{out_of_reach(gate, n)}"
        ),
    )


def out_of_reach(gate: Gate, n: int) -> str:
    """That no model can pass on n images, if so, and on how many one can: every one of them must be
    for it."""

    def best(images: int) -> float:
        low, high = confidence_interval(0 if gate.op is Op.AT_MOST else images, images)
        return high if gate.op is Op.AT_MOST else low

    if gate.holds(best(n)):
        return ""
    needed = bisect.bisect_left(
        range(MOST), True, lo=n, key=lambda images: gate.holds(best(images))
    )
    more = "no number is enough" if needed == MOST else f"it takes at least {needed:,} images"
    return f" No model can pass on {n:,} images, whatever it answers; {more}."


def asks_share(gate: Gate, what: str, whole: str = "the images") -> str:
    """The condition on a share that must be high."""
    if gate.bound == 0.0:
        return f"share of {whole} that are {what}: reported, no threshold"
    return f"{gate.op} {gate.bound:.2%} of {whole} are {what}"


class Accuracy(Gate):
    """Share of the images that are right under an attack, which is the argument; `clean` is
    none."""

    of_all = True
    op = Op.AT_LEAST

    def asks(self) -> str:
        origin = Origin.of(self.argument[0])
        if not origin.source:
            return asks_share(self, "right without any attack")
        return asks_share(
            self, f"right under the {origin.attack} images made against the {origin.source} model"
        )

    def _measure(self, tally: Tally) -> Finding:
        (attack,) = self.argument
        if attack not in tally.subject.attacks:
            return NOT_MEASURED
        against, n = tally.subject.wrong_under(attack), tally.subject.images
        shown = "without an attack" if attack == CLEAN else f"under {attack}"
        return share(self, f"{n:,} images", n, against, f"are right {shown}")


class WorstCase(Gate):
    """Share of the images that are right on the clean image and under every attack."""

    of_all = True
    op = Op.AT_LEAST

    def asks(self) -> str:
        return asks_share(self, "right under every attack")

    def _measure(self, tally: Tally) -> Finding:
        against, n = tally.subject.where(lambda images: not images.robust), tally.subject.images
        meaning = "are right on the clean image and under every attack"
        return share(self, f"{n:,} images", n, against, meaning)


class Certified(Gate):
    """Share of the images that are proven right, and right under every attack."""

    of_all = True
    op = Op.AT_LEAST

    def asks(self) -> str:
        return asks_share(self, "proven right")

    def _measure(self, tally: Tally) -> Finding:
        against, n = tally.subject.where(lambda images: not images.certified), tally.subject.images
        meaning = "are proven right, and right under every attack"
        return share(self, f"{n:,} images", n, against, meaning)


class WorstClass(Gate):
    """The worst case of the class where the lower end is lowest. The argument has the names of the
    classes, in label order; it is empty where nobody knows them, otherwise a class without any
    image refuses."""

    op = Op.AT_LEAST

    def beyond(self, labels: Mapping[int, int]) -> str:
        label = min(labels, key=lambda label: labels[label])
        text = out_of_reach(self, labels[label])
        return text and f"{text} So few are of class {shown_label(label, self.argument)}."

    def asks(self) -> str:
        return asks_share(self, "right under every attack", "each class")

    def _measure(self, tally: Tally) -> Finding:
        classes: dict[int, list[Group]] = {}
        for images in tally.subject.groups():
            classes.setdefault(images.label, []).append(images)
        if unseen := sorted(set(range(len(self.argument))) - classes.keys()):
            names = ", ".join(shown_label(label, self.argument) for label in unseen)
            return replace(NOT_MEASURED, sentence=f"No image shows the class {names}.")
        findings = [self._of_class(label, groups) for label, groups in sorted(classes.items())]
        return min(findings, key=lambda finding: finding.compared)

    def _of_class(self, label: int, groups: list[Group]) -> Finding:
        n = sum(images.sample.count for images in groups)
        against = Sample.union(images.sample for images in groups if not images.robust)
        whole = f"the {n:,} images of class {shown_label(label, self.argument)}, the worst,"
        meaning = "are right on the clean image and under every attack"
        return share(self, whole, n, against, meaning)


class Gap(Gate):
    """Clean accuracy less the worst case: the share of the images that attacks alone break."""

    of_all = True
    op = Op.AT_MOST

    def asks(self) -> str:
        return f"attacks break at most {self.bound:.2%} of the images"

    def _measure(self, tally: Tally) -> Finding:
        subject = tally.subject
        if CLEAN not in subject.attacks:
            return NOT_MEASURED
        against = subject.where(lambda images: images.clean and not images.robust)
        meaning = "are right on the clean image and broken by an attack"
        return share(self, f"{subject.images:,} images", subject.images, against, meaning)


class Missing(Gate):
    """How many of the bounds and attacks that are the argument the candidate did not face."""

    op = Op.AT_MOST

    def asks(self) -> str:
        return f"the model faced {', '.join(self.argument)}"

    def _measure(self, tally: Tally) -> Finding:
        missing = sorted(set(self.argument) - tally.faced)
        if not missing:
            return counted(0.0, "All that is required ran.")
        return counted(float(len(missing)), f"The candidate did not face {', '.join(missing)}.")


class FailedCheck(Gate):
    """1 where the honesty check that is the argument failed or could not tell, or no check ran,
    otherwise 0: one that does not apply to the model has neither passed nor failed."""

    op = Op.AT_MOST

    def beyond(self, labels: Mapping[int, int]) -> str:
        n, by_class = sum(labels.values()), self.argument == ("large_epsilon_breaks_everything",)
        seen = n - max(labels.values()) if by_class else n
        needed = enough(1, CHANCE_SLACK if by_class else TOLERANCE)
        which = "images outside of the largest class" if by_class else "images"
        return f" {seen:,} {which} are too few to tell; {needed} can." if seen < needed else ""

    def asks(self) -> str:
        return f"honesty check: {CheckName(self.argument[0]).meaning}"

    def _measure(self, tally: Tally) -> Finding:
        (check,) = self.argument
        none = "It does not apply to this model." if tally.sentences else "No honesty check ran."
        failed = check in tally.failed or not tally.passed
        finding = counted(float(failed), tally.sentences.get(check, none))
        return replace(finding, applies=failed or check in tally.passed)


class Disagreement(Gate):
    """Share of the rows on which the served candidate answers otherwise than the attacked one;
    where the bound is not zero, one row may, however few there are."""

    op = Op.AT_MOST

    def asks(self) -> str:
        return (
            "the served model answers otherwise than the attacked one on "
            f"{self.op} {self.bound:.2%} of the rows"
        )

    def _measure(self, tally: Tally) -> Finding:
        value = tally.disagreements / tally.rows
        one = ", or one row" if 0.0 < tally.rows * self.bound < 1.0 else ""
        finding = counted(
            value,
            f"The served model answers otherwise than the attacked one did on {value:.2%} of "
            f"{tally.rows:,} rows, which must be {self.op} {self.bound:.2%}{one}.",
        )
        within = tally.disagreements <= allowed(tally.rows, self.bound)
        return replace(finding, compared=min(value, self.bound)) if within else finding


class NoWorse(Gate):
    """Probability that a candidate as good as the champion loses on at least as many of the images
    on which only one of them is right. The argument says where they are right: `clean` or
    `worst_case`. The value is the candidate's accuracy less the champion's; where ChampionChallenge
    did not compare it is 0, the gate holds, and the finding says why; rows that it did not write
    are not judged."""

    op = Op.AT_LEAST

    def asks(self) -> str:
        where = "without any attack" if self.argument == (CLEAN,) else "under every attack"
        return (
            f"no significant loss to the model that is served {where} "
            f"(exact paired test, p {self.op} {self.bound:.4g})"
        )

    def _measure(self, tally: Tally) -> Finding:
        subject, clean = tally.subject, self.argument == (CLEAN,)
        if not tally.challenged:
            sentence = "These rows have no place for a champion: ChampionChallenge writes them."
            return replace(NOT_MEASURED, sentence=sentence)
        if not subject.rival_attacks:
            return _not_compared(tally.not_compared)
        if clean and CLEAN not in subject.attacks & subject.rival_attacks:
            return NOT_MEASURED

        def right(images: Group) -> tuple[bool, bool]:
            """Whether the candidate is, and the champion."""
            if clean:
                return images.clean, images.champion_clean
            return images.robust, images.champion_robust

        lost = subject.where(lambda images: right(images) == (False, True))
        won = subject.where(lambda images: right(images) == (True, False)).count
        p_value = sign_test(lost.count, won)
        where = "On clean images" if clean else "In the worst case"
        tells, n = sign_test(subject.images, 0) < self.bound, subject.images
        few = f" {n:,} images are too few: a loss of all of them would not be significant."
        note = f" Note: {tally.note}." if tally.note else ""
        return Finding(
            value=(won - lost.count) / n,
            compared=p_value if tells else math.nan,
            images_against=lost.count,
            ids=lost.ids,
            if_corrected=(
                (lambda corrected: sign_test(lost.count - corrected, won)) if tells else None
            ),
            sentence=(
                f"{where}, the candidate is wrong on {lost.count:,} images on which the champion "
                f"is right, and right on {won:,} on which it is wrong; were it as good, it would "
                f"lose so many with probability {p_value:.2g}, which must be {self.op} "
                f"{self.bound:g}.{'' if tells else few}{note}"
            ),
        )


class Best(Gate):
    """How far the worst case lies below the best one that was ever pushed for the same purpose, so
    that losses which are not significant cannot add up. The argument has that one and its version,
    or alone why there is none, and then the gate holds; it is empty where nobody has looked, and
    that is not judged."""

    op = Op.AT_MOST

    def asks(self) -> str:
        return (
            f"the worst case lies at most {self.bound:.2%} of the images below the best that was "
            "ever pushed for the same purpose"
        )

    def _measure(self, tally: Tally) -> Finding:
        if not self.argument:
            sentence = "Nobody has looked for the best worst case: Champion does."
            return replace(NOT_MEASURED, sentence=sentence)
        if len(self.argument) == 1:
            return replace(_not_compared(*self.argument), compared=0.0)
        best, version = self.argument
        against, n = tally.subject.where(lambda images: not images.robust), tally.subject.images

        def loss(corrected: int) -> float:
            return round(float(best) - (n - against.count + corrected) / n, 12)

        where = f"{abs(loss(0)):.2%} of the images {'below' if loss(0) > 0 else 'above'}"
        return Finding(
            value=loss(0),
            compared=loss(0),
            images_against=against.count,
            ids=against.ids,
            if_corrected=loss,
            sentence=(
                f"The worst case, {1 - against.count / n:.2%} of {n:,} images, lies {where} the "
                f"best that was ever pushed for this purpose, {float(best):.2%} (version "
                f"{version}); the loss must be {self.op} {self.bound:.2%}."
            ),
        )


def _not_compared(reason: str) -> Finding:
    """The finding where there was no champion, or for that reason none to compare with."""
    return Finding(
        value=0.0,
        compared=1.0,
        sentence=f"Not compared: {reason}." if reason else "There is no champion to compare with.",
        not_compared=reason or "there is no champion",
    )
