"""What an honesty check may let pass, and on how many images it can tell at all.

A tolerance is a share of the sample, and never less than one image, because with 100 images nothing
lies between 0 and 1 %. A sample must also be able to show a fake: one that is off by `FAKE` more
than the tolerance has to be found with a probability of `SURE`, by the binomial distribution (45
images for 0.2 points). Read without TensorFlow.
"""

import itertools
import math

TOLERANCE = 0.002
"""Accuracy, 0.2 points: how far a stronger attack may fall behind a weaker one by chance."""

CONVERGED = 0.005
"""Accuracy, 0.5 points: how much five times as many steps may still find."""

CHANCE_SLACK = 0.1
"""Accuracy above that of one class that is no longer chance."""

ZERO_GRADIENTS = 0.1
"""Share of images without any gradient that is still healthy."""

FAKE = 0.1
"""Share of the images beyond a tolerance: so large a sign must not escape a check that passes."""

SURE = 0.95
"""Probability with which a sample shows it."""


def allowed(n: int, tolerance: float) -> int:
    """How many of n images a tolerance lets pass: its share of them, at least one where it is not
    zero."""
    return max(math.floor(tolerance * n + 1e-9), int(tolerance > 0.0))


def escapes(n: int, tolerance: float) -> float:
    """Probability that n images show no more than is allowed of a sign that is `FAKE` larger."""
    p = tolerance + FAKE
    return sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(allowed(n, tolerance) + 1)
    )


def enough(n: int, tolerance: float) -> int:
    """The next number of images, from n, that can tell."""
    return next(more for more in itertools.count(n) if escapes(more, tolerance) <= 1.0 - SURE)


def shown(n: int, tolerance: float) -> str:
    """What is allowed, in words."""
    return f"{tolerance:.1%}" if tolerance * n >= 1.0 else "one image"
