"""Honesty checks: signs that a robust accuracy comes from a weak attack.

Sources of the signs: Athalye et al. 2018 (obfuscated gradients), Carlini et al. 2019 (on evaluating
adversarial robustness), the flags of AutoAttack. A check looks at a sample of images; it can tell
that a number is fake, not that it is true. `run_checks` runs them all on a `Subject`.

A check is one function here, with the name of its member of `CheckName`, which says what it means.
Twelve of them stand one below the other: hence the length of the file.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import tensorflow as tf

from foundation.seeds import Seeds, image_seeds
from robustness.ascent import slope
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier, proven
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    BoundName,
    Check,
    CheckName,
    Fgsm,
    Norm,
    Pgd,
    PgdMargin,
    Square,
    ThreatModel,
)
from robustness.losses import cross_entropy
from robustness.types import BoolArray, Flags, Images, IntArray, Labels, Model

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

WHITE_BOX = (PgdMargin(steps=100), ApgdCe(steps=100), ApgdT(steps=100, targets=4))
"""After PGD-100: what black-box and transferred attacks must not surpass."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a check measured. sentence: what `value` was compared with, and what it means."""

    passed: bool
    value: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked, and on which images.

    attacker: model and ball.
    x, y, ids: the sample.
    seed: seed of the attacks and of the noise.
    serve: function from images to the classes that the served signature gives; None where nothing
        is served.
    sources: other models, whose attacks are transferred.
    certifier: bounds of the model; None where they do not apply.
    """

    attacker: Attacker
    x: Images
    y: Labels
    ids: list[bytes]
    seed: int = 0
    serve: Callable[[Images], Labels] | None = None
    sources: dict[str, Model] = field(default_factory=dict)
    certifier: Certifier | None = None

    @cached_property
    def seeds(self) -> Seeds:
        return image_seeds(self.ids, self.seed)

    def survives(self, attack: Attack, epsilon: float | None = None) -> Flags:
        """Images right before and under a white-box attack, at another epsilon if one is given."""
        attacker = self.attacker
        if epsilon is not None:
            threat = ThreatModel(norm=attacker.threat.norm, epsilon=epsilon)
            attacker = Attacker(attacker.model, threat)
        x_adv = attacker.run(attack, self.x, self.y, self.seeds)
        return np.asarray(self.right & (attacker.predict(x_adv) == self.y))

    @cached_property
    def right(self) -> Flags:
        """Right on the clean image."""
        return np.asarray(self.attacker.predict(self.x) == self.y)

    @cached_property
    def fgsm(self) -> Flags:
        """What FGSM leaves."""
        return self.survives(Fgsm())

    @cached_property
    def pgd(self) -> Flags:
        """What PGD-20 leaves."""
        return self.survives(Pgd(steps=20))

    @cached_property
    def long_pgd(self) -> Flags:
        """What PGD-100 leaves."""
        return self.survives(Pgd(steps=100))

    @cached_property
    def white_box(self) -> Flags:
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


Measure = Callable[[Subject], Measured | None]
"""A check; None where it does not apply to the subject."""

CHECKS: dict[CheckName, Measure] = {}
"""The functions of this module, by name, in the order in which they run."""


def check(measure: Measure) -> Measure:
    """Register a function as the check of its own name.

    Raises:
        ValueError: `CheckName` has no such member.
    """
    CHECKS[CheckName(measure.__name__)] = measure
    return measure


def run_checks(subject: Subject) -> Iterator[Check]:
    """All checks that apply to the subject."""
    for name, measure in CHECKS.items():
        result = measure(subject)
        if result is not None:
            value = result.value if math.isfinite(result.value) else None
            yield Check(name=name, passed=result.passed, value=value, sentence=result.sentence)


def share(flags: Flags) -> float:
    """Share of the images for which something holds."""
    return float(np.mean(flags))


@check
def logits_are_finite(subject: Subject) -> Measured:
    """A logit that is not a number is no answer."""
    finite = np.isfinite(subject.attacker.logits(subject.x))
    broken = share(~np.all(finite, axis=1))
    return Measured(
        passed=broken == 0.0,
        value=broken,
        sentence=f"A logit is infinite or not a number for {broken:.1%} of the images.",
    )


@check
def iterated_beats_one_step(subject: Subject) -> Measured:
    """Many small steps must find at least what one large step finds."""
    one, many = share(subject.fgsm), share(subject.pgd)
    return Measured(
        passed=many <= one + TOLERANCE,
        value=many - one,
        sentence=f"Accuracy is {one:.1%} under FGSM and {many:.1%} under PGD-20; iterated steps "
        "that find less than one step are a sign of masked gradients.",
    )


@check
def accuracy_falls_with_epsilon(subject: Subject) -> Measured:
    """A larger ball must not be safer, and some ball must hurt."""
    epsilon = subject.attacker.threat.epsilon
    radii = [epsilon / 2, epsilon, 1.5 * epsilon]
    curve = [share(subject.right)]
    for radius in radii:
        left = subject.pgd if radius == epsilon else subject.survives(Pgd(steps=20), radius)
        curve.append(share(left))
    rise = max(after - before for before, after in itertools.pairwise(curve))
    falls = curve[-1] < curve[0] or epsilon == 0
    shown = ", ".join(f"{a:.1%} at {e:g}" for e, a in zip([0.0, *radii], curve, strict=True))
    return Measured(
        passed=rise <= TOLERANCE and falls,
        value=rise,
        sentence=f"Accuracy under PGD-20 is {shown}; it must fall as epsilon grows.",
    )


@check
def large_epsilon_breaks_everything(subject: Subject) -> Measured:
    """At epsilon 0.5 every image can become grey, so no model can be much better than chance."""
    norm, pixels = subject.attacker.threat.norm, np.prod(subject.x.shape[1:])
    radius = 0.5 if norm is Norm.LINF else 0.5 * float(np.sqrt(pixels))
    accuracy = share(subject.survives(Pgd(steps=40), radius))
    chance = float(np.bincount(subject.y).max() / len(subject.y))
    return Measured(
        passed=accuracy <= chance + CHANCE_SLACK,
        value=accuracy,
        sentence=f"Accuracy under PGD-40 at {norm} epsilon {radius:g}, where every image can be "
        f"turned grey, is {accuracy:.1%}; the most frequent class alone gives {chance:.1%}.",
    )


@check
def black_box_finds_no_more(subject: Subject) -> Measured:
    """Square, which sees no gradients, must not break what white-box attacks leave."""
    left = np.flatnonzero(subject.white_box)
    unbroken = subject.unbroken(Square(queries=SQUARE_QUERIES), left)
    more = float(np.sum(~unbroken) / len(subject.y))
    return Measured(
        passed=more <= TOLERANCE,
        value=more,
        sentence=f"Square with {SQUARE_QUERIES} queries breaks {more:.1%} of the images that PGD "
        f"and Auto-PGD leave; more than {TOLERANCE:.1%} means that the gradients mislead, and that "
        "white-box attacks alone overrate the model.",
    )


@check
def transfer_finds_no_more(subject: Subject) -> Measured | None:
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
    return Measured(
        passed=more <= TOLERANCE,
        value=more,
        sentence=f"Images made against {', '.join(subject.sources)} break {more:.1%} of the images "
        f"that PGD and Auto-PGD leave; more than {TOLERANCE:.1%} means that the gradients mislead.",
    )


@check
def attack_has_converged(subject: Subject) -> Measured:
    """Five times as many steps must find hardly more."""
    short, long = share(subject.pgd), share(subject.long_pgd)
    return Measured(
        passed=abs(short - long) <= CONVERGED,
        value=short - long,
        sentence=f"Accuracy is {short:.1%} under PGD-20 and {long:.1%} under PGD-100; a difference "
        f"above {CONVERGED:.1%} means that more steps would find more.",
    )


@check
def gradients_are_not_zero(subject: Subject) -> Measured:
    """An image whose gradient is exactly zero at all pixels gives a gradient attack nothing to
    follow."""
    x, y = tf.constant(subject.x), tf.constant(subject.y)
    gradient = slope(subject.attacker.model, x, lambda logits: cross_entropy(logits, y)).gradient
    useless = (np.asarray(gradient) == 0) | ~np.isfinite(gradient)
    zero = share(np.all(useless, axis=(1, 2, 3)))
    return Measured(
        passed=zero <= ZERO_GRADIENTS,
        value=zero,
        sentence="The gradient of the cross-entropy is exactly zero (or not a number) for "
        f"{zero:.1%} of the images; above {ZERO_GRADIENTS:.0%} the loss is saturated or the model "
        "is not differentiable.",
    )


@check
def same_seed_same_result(subject: Subject) -> Measured:
    """Two runs with one seed must agree; otherwise the model draws random numbers."""
    first, again = (subject.attacker.logits(subject.x) for _ in range(2))
    difference = float(np.max(np.abs(first - again)))
    scale = float(np.max(np.abs(first)))
    return Measured(
        passed=difference <= 1e-4 * max(scale, 1.0),
        value=difference,
        sentence="Asked twice for the same images, the model gives logits that differ by up to "
        f"{difference:.2g}; a model that is random at inference makes every attack on it look "
        "weak.",
    )


@check
def noise_does_not_help(subject: Subject) -> Measured:
    """A model that is better on slightly noisy images than on clean ones was tuned to the attack's
    start."""
    size = min(subject.attacker.threat.epsilon / 4, 0.05)
    draw = np.random.default_rng(subject.seed).uniform(-1, 1, subject.x.shape)
    noisy = np.clip(subject.x + draw * size, 0, 1).astype(np.float32)
    clean, shaken = share(subject.right), share(subject.attacker.predict(noisy) == subject.y)
    return Measured(
        passed=shaken <= clean + CONVERGED,
        value=shaken - clean,
        sentence=f"Accuracy is {clean:.1%} on clean images and {shaken:.1%} with a little random "
        "noise.",
    )


@check
def proofs_hold(subject: Subject) -> Measured | None:
    """No attack may break an image that a bound has proven."""
    if subject.certifier is None:
        return None
    safe = proven(subject.certifier.tighten(BoundName.CROWN, subject.x, subject.y))
    contradicted = safe & ~subject.white_box
    return Measured(
        passed=not np.any(contradicted),
        value=share(contradicted),
        sentence=f"{np.sum(contradicted)} of {np.sum(safe)} proven images of the sample were "
        "broken by PGD or Auto-PGD; one would refute the bounds.",
    )


@check
def served_model_is_the_evaluated_one(subject: Subject) -> Measured | None:
    """The signature that is served must answer as the network that was attacked."""
    if subject.serve is None:
        return None
    other = share(subject.serve(subject.x) != subject.attacker.predict(subject.x))
    return Measured(
        passed=other == 0.0,
        value=other,
        sentence="The serving signature gives another class than the evaluated logits for "
        f"{other:.1%} of the images.",
    )
