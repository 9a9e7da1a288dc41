"""Accuracies on the validation split during training: clean, under attack, and proven."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tf_keras

from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier, proven
from robustness.bounds.trace import NoBoundError
from robustness.config import BoundName, Norm, Pgd, ThreatModel
from robustness.types import Flags
from trainer.dataset import Split

ATTACK = Pgd(steps=20)
"""What tells single-step overfitting from robustness (Wong et al. 2020)."""

BATCH = 500


class Scores(NamedTuple):
    """Shares of the validation split in [0, 1].

    clean: right. adversarial: right under attack, of the part that is attacked. certified: right
    and proven by intervals; NaN where there is no bound.
    """

    clean: float
    adversarial: float
    certified: float

    def shown(self) -> dict[str, float]:
        """Name to value, as metrics of an epoch."""
        numbers = {name: value for name, value in self._asdict().items() if not np.isnan(value)}
        return {f"val_{name}": value for name, value in numbers.items()}


class Validator:
    """The validation split, and a network of its own on the first device to measure weights with:
    training may be distributed and in another precision.

    Args:
        network: network in float32; its weights are replaced by `measure`.
        split: the validation split.
        threat: the ball, at its full radius in every epoch.
        attacked: number of images that are attacked.
    """

    def __init__(
        self,
        network: tf_keras.Model,
        split: Split,
        threat: ThreatModel,
        attacked: int,
    ) -> None:
        self.network = network
        # Ids may be sorted by class, so the attacked part is drawn.
        order = np.random.default_rng(0).permutation(len(split.label))
        self._x, self._y = split.image[order], split.label[order]
        self._attacked = attacked
        self._attacker = Attacker(network, threat)
        self._certifier = None
        if threat.norm is Norm.LINF:
            try:
                self._certifier = Certifier(network, network.input_shape[1:], threat.epsilon)
            except NoBoundError:
                self._certifier = None

    def measure(self, weights: Sequence[npt.NDArray[np.generic]]) -> Scores:
        """Scores of the network with these weights. What is proven need not be attacked."""
        self.network.set_weights(weights)
        parts = [self._measure_batch(i) for i in range(0, len(self._y), BATCH)]
        right, safe, certified = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Scores(
            clean=float(right.mean()),
            adversarial=float(safe[: self._attacked].mean()),
            certified=float(certified.mean()) if self._certifier else float("nan"),
        )

    def _measure_batch(self, start: int) -> tuple[Flags, Flags, Flags]:
        """Whether each image of a batch is right, survives (False where it is not attacked), and is
        proven."""
        x, y = self._x[start : start + BATCH], self._y[start : start + BATCH]
        right = self._attacker.predict(x) == y
        certified = np.zeros_like(right)
        if self._certifier:
            certified = right & proven(self._certifier.tighten(BoundName.IBP, x, y))
        safe = certified.copy()
        rows = np.flatnonzero(right & ~certified)
        rows = rows[rows + start < self._attacked]
        if len(rows):
            seeds = image_seeds([b"%d" % (start + row) for row in rows], 0)
            x_adv = self._attacker.run(ATTACK, x[rows], y[rows], seeds)
            safe[rows] = self._attacker.predict(x_adv) == y[rows]
        return right, safe, certified
