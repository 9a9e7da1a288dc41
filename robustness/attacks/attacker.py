"""`Attacker`: every attack on one model in one threat model, by name."""

from collections.abc import Callable
from typing import Any, Protocol, assert_never

import numpy as np
import tensorflow as tf

from robustness.attacks.apgd import Apgd
from robustness.attacks.fab import FabT
from robustness.attacks.pgd import Pgd
from robustness.attacks.square import Square
from robustness.config import Attack, AttackName, ThreatModel
from robustness.losses import cross_entropy, dlr, margin, targeted_dlr
from robustness.types import FloatArray, IntArray, Model


class Algorithm(Protocol):
    """What `Attacker` calls: images, labels, seeds and effort to images of the same shape."""

    def __call__(
        self, x: FloatArray, y: IntArray, seeds: IntArray, attack: Attack, /
    ) -> FloatArray: ...


class Attacker:
    """The attacks on one model in one threat model; each is compiled when it is first used.

    Attributes:
        model: what is attacked. threat: within which ball.
    """

    def __init__(self, model: Model, threat: ThreatModel) -> None:
        self.model, self.threat = model, threat
        self._compiled: dict[AttackName, Algorithm] = {}
        self._transfer: Pgd | None = None
        images = tf.TensorSpec([None, None, None, None], tf.float32)
        self._logits = tf.function(lambda x: model(x, training=False), input_signature=[images])

    def logits(self, x: FloatArray) -> FloatArray:
        """float32 [n, h, w, c] -> float32 [n, k]."""
        return np.array(self._logits(x))

    def predict(self, x: FloatArray) -> IntArray:
        """Predicted class: float32 [n, h, w, c] -> int64 [n]; -1, which no label is, where a logit
        is not finite."""
        if not len(x):
            return np.zeros(0, np.int64)
        logits = self.logits(x)
        return np.where(np.all(np.isfinite(logits), axis=1), np.argmax(logits, axis=1), -1)

    def run(self, attack: Attack, x: FloatArray, y: IntArray, seeds: IntArray) -> FloatArray:
        """Attack a batch.

        Args:
            attack: which, and how hard.
            x: float32 [n, h, w, c] in [0, 1].
            y: int64 [n], true labels; they serve the loss only.
            seeds: int64 [n, 2] from `image_seeds`.

        Returns:
            float32 [n, h, w, c] inside the ball and [0, 1]: a misclassified image where one was
            found.
        """
        if attack.name not in self._compiled:
            self._compiled[attack.name] = self._build(attack.name)
        return self._compiled[attack.name](x, y, seeds, attack) if len(x) else x.copy()

    def transferable(self, x: FloatArray, y: IntArray, seeds: IntArray) -> FloatArray:
        """Images that shall fool other models: PGD with 40 steps that does not stop where this one
        is fooled."""
        if self._transfer is None:
            self._transfer = Pgd(self.model, self.threat, cross_entropy)
        attack = Attack(name=AttackName.PGD, steps=40)
        return self._transfer.run(x, y, seeds, attack, to_the_end=True) if len(x) else x.copy()

    def _build(self, name: AttackName) -> Algorithm:
        model, threat = self.model, self.threat
        match name:
            case AttackName.FGSM:
                pgd = Pgd(model, threat, cross_entropy)
                return lambda x, y, seeds, attack: pgd.fgsm(x, y)
            case AttackName.PGD:
                return Pgd(model, threat, cross_entropy).run
            case AttackName.PGD_MARGIN:
                return Pgd(model, threat, margin).run
            case AttackName.PGD_DLR:
                return Pgd(model, threat, dlr).run
            case AttackName.APGD_CE:
                return Apgd(model, threat, lambda logits, y, target: cross_entropy(logits, y)).run
            case AttackName.APGD_T:
                return self._aimed(Apgd(model, threat, targeted_dlr))
            case AttackName.FAB_T:
                return FabT(model, threat).run
            case AttackName.SQUARE:
                return Square(model, threat).run
            case never:
                assert_never(never)

    def _aimed(self, apgd: Apgd) -> Callable[[FloatArray, IntArray, IntArray, Attack], FloatArray]:
        """Aims at the wrong classes one after the other, the likeliest on the clean image first."""

        def run(x: FloatArray, y: IntArray, seeds: IntArray, attack: Attack) -> FloatArray:
            logits = self.logits(x)
            logits[np.arange(len(x)), y] = -np.inf
            ranked = np.argsort(-logits, axis=1, kind="stable")[
                :, : min(attack.targets, logits.shape[1] - 1)
            ]
            return apgd.run(x, y, seeds, attack, list(ranked.T))

        return run


def describe(attack: Attack, threat: ThreatModel) -> dict[str, Any]:
    """What to record beside every attacked image: the effort actually made."""
    iterated = attack.name in (AttackName.PGD, AttackName.PGD_MARGIN, AttackName.PGD_DLR)
    step_size = attack.resolved_step_size(threat) if iterated else 0.0
    if attack.name is AttackName.FGSM:
        step_size = threat.epsilon
    return {"steps": attack.steps, "restarts": attack.restarts, "step_size": step_size}
