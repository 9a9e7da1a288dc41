"""`Attacker`: every attack on one model in one threat model."""

from functools import cache, cached_property, partial
from typing import assert_never

import numpy as np
import tensorflow as tf

from foundation.seeds import Seeds
from robustness.ascent import slope
from robustness.attacks.apgd import CompiledApgd
from robustness.attacks.fab import CompiledFab
from robustness.attacks.pgd import CompiledPgd
from robustness.attacks.square import CompiledSquare
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    AttackName,
    FabT,
    Fgsm,
    Pgd,
    Square,
    ThreatModel,
)
from robustness.inputs import check_images, check_labels, check_seeds, image_spec
from robustness.losses import cross_entropy, dlr, margin, targeted_dlr
from robustness.memory import images_at_once, in_parts
from robustness.suites import TRANSFERABLE
from robustness.types import (
    Images,
    Labels,
    LabelsTensor,
    Logits,
    LogitsTensor,
    Model,
    NumbersTensor,
)

PGD_LOSSES = {
    AttackName.PGD: cross_entropy,
    AttackName.PGD_MARGIN: margin,
    AttackName.PGD_DLR: dlr,
}


class Attacker:
    """The attacks on one model in one threat model; each is compiled when it is first used.

    Args:
        model: what is attacked.
        threat: ball within which it is attacked.
        batch: images at once; None follows from what the model needs of memory.

    Attributes:
        model, threat, batch: the same.
    """

    def __init__(self, model: Model, threat: ThreatModel, batch: int | None = None) -> None:
        self.model, self.threat, self.batch = model, threat, batch
        images = image_spec(model)
        self._logits = tf.function(lambda x: model(x, training=False), input_signature=[images])
        self._gradient = tf.function(
            lambda x, y: slope(model, x, lambda logits: cross_entropy(logits, y)).gradient,
            input_signature=[images, tf.TensorSpec([None], tf.int64)],
        )
        self._pgd = cache(partial(CompiledPgd, model, threat))
        self._apgd = cache(partial(CompiledApgd, model, threat))
        self._fab = cache(partial(CompiledFab, model, threat))
        self._square = cache(partial(CompiledSquare, model, threat))

    def logits(self, x: Images) -> Logits:
        """What the model answers."""
        return np.array(in_parts(self._logits, self._at_once(x), x))

    def predict(self, x: Images) -> Labels:
        """Predicted class; -1, which no label is, where a logit is not finite."""
        if not len(x):
            return np.zeros(0, np.int64)
        logits = self.logits(x)
        return np.where(np.all(np.isfinite(logits), axis=1), np.argmax(logits, axis=1), -1)

    def run(self, attack: Attack, x: Images, y: Labels, seeds: Seeds) -> Images:
        """Attack a batch.

        Args:
            attack: which one, and how hard.
            x: images in [0, 1].
            y: true labels; they serve the loss only.
            seeds: what is random about the attack on each image.

        Returns:
            images inside the ball and [0, 1]: a misclassified one where the attack succeeded.

        Raises:
            DataError: images, labels or seeds are not what an attack can start from.
        """
        self.check(x, y)
        check_seeds(seeds, len(x))
        if not len(x):
            return x.copy()
        return in_parts(partial(self._run, attack), self._at_once(x), x, y, seeds)

    def _at_once(self, x: Images) -> int:
        """Images that are asked about together."""
        return self.batch or images_at_once(self.model, x.shape[1:])

    def _run(self, attack: Attack, x: Images, y: Labels, seeds: Seeds) -> Images:
        match attack:
            case Fgsm():
                return self._pgd(cross_entropy).fgsm(x, y)
            case Pgd():
                return self._pgd(PGD_LOSSES[attack.name]).run(x, y, seeds, attack)
            case ApgdCe():
                return self._apgd(untargeted_cross_entropy).run(x, y, seeds, attack)
            case ApgdT():
                targets = self._likeliest(x, y, attack.targets)
                return self._apgd(targeted_dlr).run(x, y, seeds, attack, targets)
            case FabT():
                return self._fab().run(x, y, seeds, attack)
            case Square():
                return self._square().run(x, y, seeds, attack)
            case never:
                assert_never(never)

    def transferable(self, x: Images, y: Labels, seeds: Seeds) -> Images:
        """Images that shall fool other models: PGD (`TRANSFERABLE`) that does not stop where this
        one is fooled. Args and errors as of `run`."""
        self.check(x, y)
        check_seeds(seeds, len(x))
        if not len(x):
            return x.copy()
        climb = partial(self._pgd(cross_entropy).run, attack=TRANSFERABLE, to_the_end=True)
        return in_parts(climb, self._at_once(x), x, y, seeds)

    def gradient(self, x: Images, y: Labels) -> Images:
        """Gradient of the cross-entropy for each image. Args and errors as of `run`."""
        self.check(x, y)
        return in_parts(self._gradient, self._at_once(x), x, y)

    def check(self, x: Images, y: Labels) -> None:
        """Refuse images and labels that are no question to this model.

        Raises:
            DataError: wrong dtypes or shapes, pixels outside [0, 1], or labels without a logit.
        """
        check_images(x)
        check_labels(y, len(x), self._classes)

    @cached_property
    def _classes(self) -> int | None:
        """Number of logits, None where the graph does not say."""
        shape = self._logits.get_concrete_function().structured_outputs.shape
        return None if shape.rank is None else shape[-1]

    def _likeliest(self, x: Images, y: Labels, count: int) -> list[Labels]:
        """The wrong classes to aim at one after the other, the likeliest on the clean image
        first."""
        logits = self.logits(x)
        logits[np.arange(len(x)), y] = -np.inf
        ranked = np.argsort(-logits, axis=1, kind="stable")
        return list(ranked.T[: min(count, logits.shape[1] - 1)])


def untargeted_cross_entropy(
    logits: LogitsTensor, y: LabelsTensor, target: LabelsTensor
) -> NumbersTensor:
    """The cross-entropy in the form of a loss with a target, which it does not have."""
    return cross_entropy(logits, y)
