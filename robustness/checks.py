"""Honesty checks: signs that a robust accuracy is an artefact of a weak attack, each with a
verdict.

Sources of the signs: Athalye et al. 2018 (obfuscated gradients), Carlini et al. 2019 (on evaluating
adversarial robustness), the flags of AutoAttack. A check looks at a sample of images; it can tell
that a number is fake, not that it is true.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import tensorflow as tf

from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier, proven
from robustness.config import Attack, AttackName, BoundName, CheckName, Norm, ThreatModel
from robustness.losses import cross_entropy
from robustness.types import BoolArray, FloatArray, IntArray, Model

TOLERANCE = 0.002
"""Accuracy, 0.2 points: how far a stronger attack may fall behind a weaker one by chance."""

CONVERGED = 0.005
"""Accuracy, 0.5 points: how much five times as many steps may still find."""

CHANCE_SLACK = 0.1
"""Accuracy above that of the most frequent class that is no longer chance."""

ZERO_GRADIENTS = 0.1
"""Share of images without any gradient that is still healthy."""

SQUARE_QUERIES = 500

SAMPLE = 500
"""Images of the split, the first ones, that a caller gives to the checks."""

WHITE_BOX = (
    Attack(name=AttackName.PGD_MARGIN, steps=100),
    Attack(name=AttackName.APGD_CE, steps=100),
    Attack(name=AttackName.APGD_T, steps=100, targets=4),
)
"""After PGD-100: what black-box and transferred attacks must not surpass."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One verdict: `value` is what was measured, `sentence` says what it was compared with and what
    it means."""

    name: CheckName
    passed: bool
    value: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked, and on which images.

    attacker: the model and the ball. x, y, ids: the sample, float32 [n, h, w, c], int64 [n], n
    names. serve: the classes that the served signature gives for the same images, int64 [n].
        sources: other models, whose attacks
    are transferred. certifier: None where bounds do not apply.
    """

    attacker: Attacker
    x: FloatArray
    y: IntArray
    ids: list[bytes]
    seed: int = 0
    serve: Callable[[FloatArray], IntArray] | None = None
    sources: dict[str, Model] = field(default_factory=dict)
    certifier: Certifier | None = None

    @cached_property
    def seeds(self) -> IntArray:
        return image_seeds(self.ids, self.seed)

    def survives(self, attack: Attack, epsilon: float | None = None) -> BoolArray:
        """Images right before and under a white-box attack, at another epsilon if one is given:
        bool [n]."""
        attacker = self.attacker
        if epsilon is not None:
            attacker = Attacker(
                attacker.model, ThreatModel(norm=attacker.threat.norm, epsilon=epsilon)
            )
        x_adv = attacker.run(attack, self.x, self.y, self.seeds)
        return np.asarray(self._right & (attacker.predict(x_adv) == self.y))

    @cached_property
    def _right(self) -> BoolArray:
        return np.asarray(self.attacker.predict(self.x) == self.y)

    @cached_property
    def fgsm(self) -> BoolArray:
        return self.survives(Attack(name=AttackName.FGSM))

    @cached_property
    def pgd(self) -> BoolArray:
        return self.survives(Attack(name=AttackName.PGD, steps=20))

    @cached_property
    def long_pgd(self) -> BoolArray:
        """PGD-100."""
        return self.survives(Attack(name=AttackName.PGD, steps=100))

    @cached_property
    def white_box(self) -> BoolArray:
        """What `WHITE_BOX` leaves, each attack on the images that the ones before it left."""
        left = self.long_pgd.copy()
        for attack in WHITE_BOX:
            rows = np.flatnonzero(left)
            left[rows] = self.unbroken(attack, rows)
        return left

    def unbroken(self, attack: Attack, rows: IntArray) -> BoolArray:
        """Which of some images are still right under an attack: bool [rows]."""
        x_adv = self.attacker.run(attack, self.x[rows], self.y[rows], self.seeds[rows])
        return np.asarray(self.attacker.predict(x_adv) == self.y[rows])


def run_checks(subject: Subject) -> Iterator[Check]:
    """All checks that apply to the subject."""
    for check in CHECKS:
        found = check(subject)
        if found is not None:
            yield found


def logits_are_finite(subject: Subject) -> Check:
    """A logit that is not a number is no answer."""
    broken = float(np.mean(~np.all(np.isfinite(subject.attacker.logits(subject.x)), axis=1)))
    return Check(
        name=CheckName.LOGITS_ARE_FINITE,
        passed=broken == 0.0,
        value=broken,
        sentence=f"A logit is infinite or not a number for {broken:.1%} of the images.",
    )


def iterated_beats_one_step(subject: Subject) -> Check:
    """Many small steps must find at least what one large step finds."""
    one, many = float(np.mean(subject.fgsm)), float(np.mean(subject.pgd))
    return Check(
        name=CheckName.ITERATED_BEATS_ONE_STEP,
        passed=many <= one + TOLERANCE,
        value=many - one,
        sentence=f"Accuracy is {one:.1%} under FGSM and {many:.1%} under PGD-20; iterated steps that find less than "
        "one step are a sign of masked gradients.",
    )


def accuracy_falls_with_epsilon(subject: Subject) -> Check:
    """A larger ball must not be safer, and some ball must hurt."""
    epsilon = subject.attacker.threat.epsilon
    radii = [epsilon / 2, epsilon, 1.5 * epsilon]
    attack = Attack(name=AttackName.PGD, steps=20)
    curve = [float(np.mean(subject._right))]
    curve += [
        float(np.mean(subject.pgd if e == epsilon else subject.survives(attack, e))) for e in radii
    ]
    rise = max(after - before for before, after in itertools.pairwise(curve))
    falls = curve[-1] < curve[0] or epsilon == 0
    shown = ", ".join(f"{a:.1%} at {e:g}" for e, a in zip([0.0, *radii], curve, strict=True))
    return Check(
        name=CheckName.ACCURACY_FALLS_WITH_EPSILON,
        passed=rise <= TOLERANCE and falls,
        value=rise,
        sentence=f"Accuracy under PGD-20 is {shown}; it must fall as epsilon grows.",
    )


def large_epsilon_breaks_everything(subject: Subject) -> Check:
    """At epsilon 0.5 every image can become grey, so no model can be much better than chance."""
    x = subject.x
    radius = (
        0.5
        if subject.attacker.threat.norm is Norm.LINF
        else 0.5 * float(np.sqrt(np.prod(x.shape[1:])))
    )
    accuracy = float(np.mean(subject.survives(Attack(name=AttackName.PGD, steps=40), radius)))
    chance = float(np.bincount(subject.y).max() / len(subject.y))
    return Check(
        name=CheckName.LARGE_EPSILON_BREAKS_EVERYTHING,
        passed=accuracy <= chance + CHANCE_SLACK,
        value=accuracy,
        sentence=f"Accuracy under PGD-40 at {subject.attacker.threat.norm} epsilon {radius:g}, where every image can "
        f"be turned grey, is {accuracy:.1%}; the most frequent class alone gives {chance:.1%}.",
    )


def black_box_finds_no_more(subject: Subject) -> Check:
    """Square, which sees no gradients, must not break what white-box attacks leave."""
    left = np.flatnonzero(subject.white_box)
    unbroken = subject.unbroken(Attack(name=AttackName.SQUARE, steps=SQUARE_QUERIES), left)
    more = float(np.sum(~unbroken) / len(subject.y))
    return Check(
        name=CheckName.BLACK_BOX_FINDS_NO_MORE,
        passed=more <= TOLERANCE,
        value=more,
        sentence=f"Square with {SQUARE_QUERIES} queries breaks {more:.1%} of the images that PGD and Auto-PGD leave; "
        f"more than {TOLERANCE:.1%} means that the gradients mislead, and that white-box attacks "
        "alone overrate the model.",
    )


def transfer_finds_no_more(subject: Subject) -> Check | None:
    """Images made against other models must not break what white-box attacks leave."""
    if not subject.sources:
        return None
    left = np.flatnonzero(subject.white_box)
    x, y, seeds = subject.x[left], subject.y[left], subject.seeds[left]
    broken = np.zeros(len(left), bool)
    for source in subject.sources.values():
        x_adv = Attacker(source, subject.attacker.threat).transferable(x, y, seeds)
        broken |= subject.attacker.predict(x_adv) != y
    more = float(np.sum(broken) / len(subject.y))
    return Check(
        name=CheckName.TRANSFER_FINDS_NO_MORE,
        passed=more <= TOLERANCE,
        value=more,
        sentence=f"Images made against {', '.join(subject.sources)} break {more:.1%} of the images that PGD and "
        f"Auto-PGD leave; more than {TOLERANCE:.1%} means that the gradients mislead.",
    )


def attack_has_converged(subject: Subject) -> Check:
    """Five times as many steps must find hardly more."""
    short, long = float(np.mean(subject.pgd)), float(np.mean(subject.long_pgd))
    return Check(
        name=CheckName.ATTACK_HAS_CONVERGED,
        passed=abs(short - long) <= CONVERGED,
        value=short - long,
        sentence=f"Accuracy is {short:.1%} under PGD-20 and {long:.1%} under PGD-100; a difference above "
        f"{CONVERGED:.1%} means that more steps would find more.",
    )


def gradients_are_not_zero(subject: Subject) -> Check:
    """An image whose gradient is exactly zero at all pixels gives a gradient attack nothing to
    follow."""
    x, y = tf.constant(subject.x), tf.constant(subject.y)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = cross_entropy(subject.attacker.model(x, training=False), y)
    gradient = tape.gradient(loss, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    useless = (np.asarray(gradient) == 0) | ~np.isfinite(gradient)
    share = float(np.mean(np.all(useless, axis=(1, 2, 3))))
    return Check(
        name=CheckName.GRADIENTS_ARE_NOT_ZERO,
        passed=share <= ZERO_GRADIENTS,
        value=share,
        sentence=f"The gradient of the cross-entropy is exactly zero (or not a number) for {share:.1%} of the images; "
        f"above {ZERO_GRADIENTS:.0%} the loss is saturated or the model is not differentiable.",
    )


def same_seed_same_result(subject: Subject) -> Check:
    """Two runs with one seed must agree, else the model draws random numbers."""
    first, again = (subject.attacker.logits(subject.x) for _ in range(2))
    difference = float(np.max(np.abs(first - again)))
    scale = float(np.max(np.abs(first)))
    return Check(
        name=CheckName.SAME_SEED_SAME_RESULT,
        passed=difference <= 1e-4 * max(scale, 1.0),
        value=difference,
        sentence=f"Asked twice for the same images, the model gives logits that differ by up to {difference:.2g}; a "
        "model that is random at inference makes every attack on it look weak.",
    )


def noise_does_not_help(subject: Subject) -> Check:
    """A model that is better on slightly noisy images than on clean ones was tuned to the attack's
    start."""
    draw = np.random.default_rng(subject.seed).uniform(-1, 1, subject.x.shape)
    noisy = np.clip(subject.x + draw * min(subject.attacker.threat.epsilon / 4, 0.05), 0, 1).astype(
        np.float32
    )
    clean, shaken = (
        float(np.mean(subject._right)),
        float(np.mean(subject.attacker.predict(noisy) == subject.y)),
    )
    return Check(
        name=CheckName.NOISE_DOES_NOT_HELP,
        passed=shaken <= clean + CONVERGED,
        value=shaken - clean,
        sentence=f"Accuracy is {clean:.1%} on clean images and {shaken:.1%} with a little random noise.",
    )


def proofs_hold(subject: Subject) -> Check | None:
    """No attack may break an image that a bound has proven."""
    if subject.certifier is None:
        return None
    margins = subject.certifier.tighten(BoundName.CROWN, subject.x, subject.y)
    contradicted = proven(margins) & ~subject.white_box
    return Check(
        name=CheckName.PROOFS_HOLD,
        passed=not np.any(contradicted),
        value=float(np.mean(contradicted)),
        sentence=f"{int(np.sum(contradicted))} of {int(np.sum(proven(margins)))} proven images of the sample were "
        "broken by PGD or Auto-PGD; one would refute the bounds.",
    )


def served_model_is_the_evaluated_one(subject: Subject) -> Check | None:
    """The signature that is served must answer as the network that was attacked."""
    if subject.serve is None:
        return None
    other = float(np.mean(subject.serve(subject.x) != subject.attacker.predict(subject.x)))
    return Check(
        name=CheckName.SERVED_MODEL_IS_THE_EVALUATED_ONE,
        passed=other == 0.0,
        value=other,
        sentence=f"The serving signature gives another class than the evaluated logits for {other:.1%} of the images.",
    )


CHECKS: tuple[Callable[[Subject], Check | None], ...] = (
    logits_are_finite,
    iterated_beats_one_step,
    accuracy_falls_with_epsilon,
    large_epsilon_breaks_everything,
    black_box_finds_no_more,
    transfer_finds_no_more,
    attack_has_converged,
    gradients_are_not_zero,
    same_seed_same_result,
    noise_does_not_help,
    proofs_hold,
    served_model_is_the_evaluated_one,
)
