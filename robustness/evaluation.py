"""The evaluation: bounds and attacks, each on what all earlier stages left undecided.

`Judge` decides a batch; `summarise` makes the published figures of many verdicts. The same code
runs in the pipeline's attack node and behind `gauntlet evaluate`. Knows nothing of files, splits
and pipelines.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.errors import RunError
from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.ball import inside_ball
from robustness.bounds.certifier import Certifier, proven
from robustness.bounds.trace import NoBoundError
from robustness.config import Attack, BoundName, Norm, ThreatModel
from robustness.suites import Stage
from robustness.types import BoolArray, FloatArray, IntArray, Model

OPEN = ""
"""Neither broken nor proven."""

WRONG = "clean"
"""`broken_by` of an image on which the model is wrong without any attack."""

TRANSFER = "transfer:"
"""Prefix of the name of an attack made with another model's gradients."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found out about each image of a batch.

    label: int64 [n]. prediction: int64 [n], on the clean image; -1 where a logit is not finite.
    broken_by: str [n], the attack that changed the prediction, `clean` where it was wrong without
        one, ''.
    certified_by: str [n], the bound that proves the prediction right in the whole ball, or ''.
    x_adv: float32 [n, h, w, c], the misclassified image; where there is none the one that the last
        attack left; the clean image where no attack was needed.
    seconds: by stage.
    """

    label: IntArray
    prediction: IntArray
    broken_by: Any
    certified_by: Any
    x_adv: FloatArray
    seconds: dict[str, float]

    @property
    def robust(self) -> BoolArray:
        """Right on the clean image and under every attack: bool [n]."""
        return np.asarray(self.broken_by == OPEN)


class Judge:
    """Decides batches of images for one model in one threat model.

    Args:
        model: float32 [n, h, w, c] in [0, 1] to logits float32 [n, k].
        threat: norm and epsilon.
        stages: attacks and bounds in the order in which they run.
        image_shape: height, width, channels.
        sources: other models by name; PGD against each is tried on this model before its own
            attacks.
    """

    def __init__(
        self,
        model: Model,
        threat: ThreatModel,
        stages: Sequence[Stage],
        image_shape: tuple[int, int, int],
        sources: Mapping[str, Model] | None = None,
    ) -> None:
        self.attacker = Attacker(model, threat)
        self.threat = threat
        self._stages = tuple(stages)
        self._sources = {
            TRANSFER + name: Attacker(source, threat) for name, source in (sources or {}).items()
        }
        self.certifier: Certifier | None = None
        self.not_certified = ""
        if threat.norm is not Norm.LINF:
            self.not_certified = "the bounds are for L-infinity"
        elif not any(isinstance(stage, BoundName) for stage in stages):
            self.not_certified = "no bound was asked for"
        else:
            try:
                self.certifier = Certifier(model, image_shape, threat.epsilon)
            except NoBoundError as error:
                self.not_certified = str(error)

    def ordered(self) -> list[Stage | str]:
        """The stages that apply, with the transfers before the first attack of the model's own."""
        stages = [
            s for s in self._stages if self.certifier is not None or not isinstance(s, BoundName)
        ]
        first = next(
            (i for i, stage in enumerate(stages) if isinstance(stage, Attack)), len(stages)
        )
        return [*stages[:first], *self._sources, *stages[first:]]

    def judge(self, x: FloatArray, y: IntArray, ids: Sequence[bytes], seed: int) -> Verdict:
        """The verdict on a batch. It does not depend on how images are put into batches.

        Args:
            x: float32 [n, h, w, c] in [0, 1].
            y: int64 [n], true labels.
            ids: names of the images; with `seed` they decide what is random.
            seed: of the attacks.

        Raises:
            RunError: an attack left the ball or [0, 1].
        """
        prediction = self.attacker.predict(x)
        text = f"U{max(map(len, [WRONG, *map(stage_name, self.ordered())]))}"  # NumPy cuts what is longer
        verdict = Verdict(
            label=y,
            prediction=prediction,
            broken_by=np.where(prediction == y, OPEN, WRONG).astype(text),
            certified_by=np.full(len(x), OPEN, text),
            x_adv=x.copy(),
            seconds={},
        )
        seeds, margins = image_seeds(ids, seed), None
        for stage in self.ordered():
            rows = np.flatnonzero((verdict.broken_by == OPEN) & (verdict.certified_by == OPEN))
            begin = time.monotonic()
            if isinstance(stage, BoundName):
                margins = self._prove(stage, verdict, rows, x, margins)
            elif len(rows):
                self._attack(stage, verdict, rows, x, seeds)
            verdict.seconds[stage_name(stage)] = time.monotonic() - begin
        return verdict

    def _prove(
        self,
        bound: BoundName,
        verdict: Verdict,
        rows: IntArray,
        x: FloatArray,
        margins: FloatArray | None,
    ) -> FloatArray | None:
        """Note what the bound proves among the rows; returns the margins of all images known so
        far."""
        assert self.certifier is not None
        if not len(rows):
            return margins
        known = None if margins is None else margins[rows]
        found = self.certifier.tighten(bound, x[rows], verdict.label[rows], known)
        if margins is None:
            margins = np.full((len(x), found.shape[1]), -np.inf, np.float32)
        margins[rows] = found
        verdict.certified_by[rows[proven(found)]] = str(bound)
        return margins

    def _attack(
        self, stage: Attack | str, verdict: Verdict, rows: IntArray, x: FloatArray, seeds: IntArray
    ) -> None:
        """Note what the attack breaks among the rows."""
        y = verdict.label[rows]
        if isinstance(stage, Attack):
            x_adv = self.attacker.run(stage, x[rows], y, seeds[rows])
        else:
            x_adv = self._sources[stage].transferable(x[rows], y, seeds[rows])
        outside = int(
            np.sum(~np.asarray(inside_ball(tf.constant(x_adv), tf.constant(x[rows]), self.threat)))
        )
        if outside:
            raise RunError(
                f"{stage_name(stage)}: {outside} attacked images lie outside the "
                f"{self.threat.norm} ball of radius {self.threat.epsilon} or outside [0, 1]"
            )
        verdict.x_adv[rows] = x_adv
        verdict.broken_by[rows[self.attacker.predict(x_adv) != y]] = stage_name(stage)


def stage_name(stage: Stage | str) -> str:
    """An attack's or a bound's name."""
    return str(stage.name) if isinstance(stage, Attack) else str(stage)


def summarise(verdict: Verdict, judge: Judge) -> dict[str, Any]:
    """The published figures, as fractions of all images: `clean`, those of `accuracies_by_stage`,
    `worst_case`, and the seconds of each stage. The true robust accuracy lies between `certified`
    and `worst_case`.
    """
    figures = accuracies_by_stage(verdict.broken_by, verdict.certified_by, judge.ordered())
    return {
        "clean": float(np.mean(verdict.broken_by != WRONG)),
        "worst_case": float(np.mean(verdict.robust)),
        **figures,
        "not_certified": judge.not_certified or None,
        "seconds_by": {name: round(seconds, 3) for name, seconds in verdict.seconds.items()},
    }


def accuracies_by_stage(
    broken_by: Any, certified_by: Any, stages: Sequence[Stage | str]
) -> dict[str, Any]:
    """What attacks leave and bounds prove.

    Args:
        broken_by, certified_by: str [n], as in `Verdict`.
        stages: attacks and bounds that ran, in order.

    Returns:
        `attacks`: the accuracy that is left once an attack has run too, so it falls from one to the
            next and
        ends at the worst case. `certified_by`: in the same way what is proven once a bound has run
            too.
        `certified`: what is proven by all, None where there was no bound.
    """
    attacks, certified = {}, {}
    left, sure = broken_by != WRONG, np.zeros(len(broken_by), bool)
    for stage in stages:
        name = stage_name(stage)
        if isinstance(stage, BoundName):
            sure = sure | (certified_by == name)
            certified[name] = float(np.mean(sure))
        else:
            left = left & (broken_by != name)
            attacks[name] = float(np.mean(left))
    proven_share = float(np.mean(sure)) if certified else None
    return {"attacks": attacks, "certified": proven_share, "certified_by": certified}
