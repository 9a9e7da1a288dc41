"""The evaluation: bounds and attacks, each on what all earlier stages left undecided.

`Judge` decides a batch; `summarise` makes the published figures of many verdicts. The same code
runs in the pipeline's attack node and behind `gauntlet evaluate`. Knows nothing of files, splits
and pipelines.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from jaxtyping import Float32

from foundation.errors import ConfigError, DataError, RunError
from foundation.seeds import Seeds, image_seeds
from robustness.attacks.attacker import Attacker
from robustness.ball import inside_ball
from robustness.bounds.certifier import Certifier, proven
from robustness.bounds.trace import NoBoundError
from robustness.config import Attack, BoundName, Norm, ThreatModel
from robustness.suites import Stage, Transfer
from robustness.types import (
    BoolArray,
    Flags,
    FloatArray,
    Images,
    IntArray,
    Labels,
    Logits,
    Model,
    Names,
)

OPEN = ""
"""Neither broken nor proven."""

WRONG = "clean"
"""`broken_by` of an image on which the model is wrong without any attack."""


KeptImages = Float32[FloatArray, "kept h w c"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is known of each image of a batch.

    label: true class.
    prediction: class of the clean image; -1 where a logit is not finite.
    broken_by: name of the attack that changed the prediction; `clean` where the model was wrong
        without one; '' where none did.
    certified_by: name of the bound that proves the prediction right in the whole ball, or ''.
    x_adv: the misclassified image; where there is none, the one that the last attack left; the
        clean image where no attack was needed. No images where they are kept elsewhere.
    seconds: time of each stage by its name.
    """

    label: Labels
    prediction: Labels
    broken_by: Names
    certified_by: Names
    x_adv: KeptImages
    seconds: dict[str, float]

    @property
    def robust(self) -> Flags:
        """Right on the clean image and under every attack."""
        return np.asarray(self.broken_by == OPEN)


@dataclass(kw_only=True)
class _Case:
    """A batch while it is decided: stages write into it what becomes its verdict.

    margins: lower bounds of the margins that are known so far; None before the first bound.
    """

    x: Images
    label: Labels
    seeds: Seeds
    prediction: Labels
    broken_by: Names
    certified_by: Names
    x_adv: Images
    margins: Logits | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def undecided(self) -> IntArray:
        """Rows that are neither broken nor proven."""
        return np.flatnonzero((self.broken_by == OPEN) & (self.certified_by == OPEN))

    def verdict(self) -> Verdict:
        """What the stages have written."""
        return Verdict(
            label=self.label,
            prediction=self.prediction,
            broken_by=self.broken_by,
            certified_by=self.certified_by,
            x_adv=self.x_adv,
            seconds=self.seconds,
        )


class Judge:
    """Decides batches of images for one model in one threat model.

    Args:
        model: images in [0, 1] to logits.
        threat: norm and epsilon.
        stages: attacks and bounds in the order in which they run.
        image_shape: height, width, channels.
        sources: other models by name; PGD against each is tried on this model before its own
            attacks.
        batch: images that are attacked at once; None follows from what the model needs of memory.

    Attributes:
        attacker: the attacks on the model.
        certifier: its bounds; None where there are none.
        not_certified: why there are none; '' otherwise.

    Raises:
        ConfigError: a transfer among the stages.
    """

    def __init__(
        self,
        model: Model,
        threat: ThreatModel,
        stages: Sequence[Stage],
        image_shape: tuple[int, int, int],
        sources: Mapping[str, Model] | None = None,
        batch: int | None = None,
    ) -> None:
        if any(isinstance(stage, Transfer) for stage in stages):
            raise ConfigError("a transfer is not named among the stages: give its model in sources")
        self.attacker = Attacker(model, threat, batch)
        self.threat = threat
        self._stages = tuple(stages)
        self._sources = {
            Transfer(source=name): Attacker(source, threat, batch)
            for name, source in (sources or {}).items()
        }
        self.certifier: Certifier | None = None
        self.not_certified = ""
        if threat.norm is not Norm.LINF:
            self.not_certified = "the bounds are for L-infinity"
        elif not any(isinstance(stage, BoundName) for stage in stages):
            self.not_certified = "no bound was asked for"
        else:
            try:
                self.certifier = Certifier(model, image_shape, threat.epsilon, batch)
            except NoBoundError as error:
                self.not_certified = str(error)

    def ordered(self) -> list[Stage]:
        """The stages that apply, with the transfers before the first attack of the model's own."""
        bounded = self.certifier is not None
        stages = [s for s in self._stages if bounded or not isinstance(s, BoundName)]
        attacks = [i for i, stage in enumerate(stages) if isinstance(stage, Attack)]
        first = attacks[0] if attacks else len(stages)
        return [*stages[:first], *self._sources, *stages[first:]]

    def judge(self, x: Images, y: Labels, ids: Sequence[bytes], seed: int) -> Verdict:
        """The verdict on a batch. It does not depend on how images are put into batches.

        Args:
            x: images in [0, 1].
            y: true labels.
            ids: names of the images; with `seed` they decide what is random.
            seed: seed of the attacks.

        Raises:
            DataError: images or labels are not what attacks and bounds can start from, or there
                is not one id for each image.
            RunError: an attack left the ball or [0, 1].
        """
        self.attacker.check(x, y)
        if len(ids) != len(x):
            raise DataError(f"every image has an id: got {len(ids)} ids of {len(x)} images")
        case = self._opened(x, y, image_seeds(ids, seed))
        for stage in self.ordered():
            rows = case.undecided()
            begin = time.monotonic()
            if not len(rows):
                pass
            elif isinstance(stage, BoundName):
                self._prove(stage, case, rows)
            else:
                self._attack(stage, case, rows)
            case.seconds[stage_name(stage)] = time.monotonic() - begin
        return case.verdict()

    def _opened(self, x: Images, y: Labels, seeds: Seeds) -> _Case:
        """The batch before the first stage."""
        prediction = self.attacker.predict(x)
        longest = max(map(len, [WRONG, *map(stage_name, self.ordered())]))
        text = f"U{longest}"  # NumPy cuts what is longer
        return _Case(
            x=x,
            label=y,
            seeds=seeds,
            prediction=prediction,
            broken_by=np.where(prediction == y, OPEN, WRONG).astype(text),
            certified_by=np.full(len(x), OPEN, text),
            x_adv=x.copy(),
        )

    def _prove(self, bound: BoundName, case: _Case, rows: IntArray) -> None:
        """Note what the bound proves among the rows."""
        assert self.certifier is not None
        known = None if case.margins is None else case.margins[rows]
        margins = self.certifier.tighten(bound, case.x[rows], case.label[rows], known)
        if case.margins is None:
            case.margins = np.full((len(case.x), margins.shape[1]), -np.inf, np.float32)
        case.margins[rows] = margins
        case.certified_by[rows[proven(margins)]] = str(bound)

    def _attack(self, stage: Attack | Transfer, case: _Case, rows: IntArray) -> None:
        """Note what the attack breaks among the rows."""
        x, y, seeds = case.x[rows], case.label[rows], case.seeds[rows]
        if isinstance(stage, Transfer):
            x_adv = self._sources[stage].transferable(x, y, seeds)
        else:
            x_adv = self.attacker.run(stage, x, y, seeds)
        inside = np.asarray(inside_ball(tf.constant(x_adv), tf.constant(x), self.threat))
        if not np.all(inside):
            raise RunError(
                f"{stage_name(stage)}: {np.sum(~inside)} attacked images lie outside the "
                f"{self.threat.norm} ball of radius {self.threat.epsilon} or outside [0, 1]"
            )
        case.x_adv[rows] = x_adv
        case.broken_by[rows[self.attacker.predict(x_adv) != y]] = stage_name(stage)


def stage_name(stage: Stage) -> str:
    """The name under which results are kept."""
    return str(stage if isinstance(stage, BoundName) else stage.name)


@dataclass(frozen=True, kw_only=True)
class StageAccuracies:
    """What attacks leave and bounds prove, as shares of all images.

    attacks: accuracy that is left once an attack has run too, so it falls from one to the next and
        ends at the worst case over these stages; a pipeline's counts other images as well.
    certified_by: in the same way, share that is proven once a bound has run too.
    certified: share that is proven by all; None where there was no bound.
    """

    attacks: dict[str, float]
    certified: float | None
    certified_by: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The published figures, as shares of all images. The true robust accuracy lies between
    `certified` and `worst_case`.

    attacks, certified, certified_by: see `StageAccuracies`. efforts: how hard each attack tried, by
        its name.
    not_certified: why there are no bounds; None where there are.
    seconds_by: time of each stage.
    """

    clean: float
    worst_case: float
    attacks: dict[str, float]
    efforts: dict[str, dict[str, float]]
    certified: float | None
    certified_by: dict[str, float]
    not_certified: str | None
    seconds_by: dict[str, float]


def summarise(verdict: Verdict, judge: Judge) -> Summary:
    """The published figures of a verdict.

    Raises:
        DataError: there are no images.
    """
    stages = judge.ordered()
    by_stage = accuracies_by_stage(verdict.broken_by, verdict.certified_by, stages)
    attacks = (stage for stage in stages if not isinstance(stage, BoundName))
    return Summary(
        clean=float(np.mean(verdict.broken_by != WRONG)),
        worst_case=float(np.mean(verdict.robust)),
        attacks=by_stage.attacks,
        efforts={str(stage.name): stage.effort(judge.threat) for stage in attacks},
        certified=by_stage.certified,
        certified_by=by_stage.certified_by,
        not_certified=judge.not_certified or None,
        seconds_by={name: round(seconds, 3) for name, seconds in verdict.seconds.items()},
    )


def accuracies_by_stage(
    broken_by: Names, certified_by: Names, stages: Sequence[Stage]
) -> StageAccuracies:
    """What attacks leave and bounds prove.

    Args:
        broken_by, certified_by: as in `Verdict`.
        stages: attacks and bounds that ran, in order.

    Raises:
        DataError: there are no images, of which every share would be no number.
    """
    if not len(broken_by):
        raise DataError("there are no images to count: no accuracy can be told")
    attacks, certified = {}, {}
    left: BoolArray = broken_by != WRONG
    sure = np.zeros(len(broken_by), bool)
    for stage in stages:
        name = stage_name(stage)
        if isinstance(stage, BoundName):
            sure = sure | (certified_by == name)
            certified[name] = float(np.mean(sure))
        else:
            left = left & (broken_by != name)
            attacks[name] = float(np.mean(left))
    return StageAccuracies(
        attacks=attacks,
        certified=float(np.mean(sure)) if certified else None,
        certified_by=certified,
    )
