"""Smooth functions of one variable that networks use as activations, and where they bend.

The values are computed in float64: next to that, what a network computes in float32 is off by what
`Curve.error` bounds, and float64 itself by nothing that counts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from robustness.bounds.rounding import UNIT
from robustness.types import BatchTensor

Function = Callable[[tf.Tensor], tf.Tensor]

COMPUTED = 32 * UNIT
"""What a float32 kernel may be off by, relative to 1 and, of curves without bound, to the operand.
Over all of float32 TensorFlow's kernels, fused or not, are off by up to 6 units (tanh)."""

EVERYWHERE, BELOW_ZERO = ((-math.inf, math.inf),), ((-math.inf, 0.0),)


@dataclass(frozen=True)
class Curve:
    """A function that is convex on one stretch and concave on both sides of it; or the negative of
    one.

    The slopes on the two sides have no value in common.

    Attributes:
        value, slope: the function and its derivative, of float64; at a kink that of the left.
        convex: the stretches on which it is convex, infinite ones too.
        lowest: where the smallest value lies; the function falls up to it and rises from it on.
        bounded: whether the function stays within -1 and 1.
    """

    value: Function
    slope: Function
    convex: tuple[tuple[float, float], ...]
    lowest: float = -math.inf
    bounded: bool = False

    @property
    def negative(self) -> "Curve":
        """The negative, which is convex where the curve is concave."""
        ((start, end),) = self.convex
        sides = [side for side in ((-math.inf, start), (end, math.inf)) if side[0] < side[1]]
        return Curve(lambda x: -self.value(x), lambda x: -self.slope(x), tuple(sides))

    def error(self, magnitude: BatchTensor) -> BatchTensor:
        """What the network's value may be off by, where the operand is no larger than that."""
        return COMPUTED * (tf.ones_like(magnitude) if self.bounded else 1.0 + magnitude)


SIGMOID = Curve(tf.sigmoid, lambda x: tf.sigmoid(x) * tf.sigmoid(-x), BELOW_ZERO, bounded=True)
TANH = Curve(tf.tanh, lambda x: 1.0 / tf.cosh(x) ** 2, BELOW_ZERO, bounded=True)
SOFTSIGN = Curve(tf.nn.softsign, lambda x: 1.0 / (1.0 + tf.abs(x)) ** 2, BELOW_ZERO, bounded=True)
SOFTPLUS = Curve(tf.nn.softplus, tf.sigmoid, EVERYWHERE)
ELU = Curve(tf.nn.elu, lambda x: tf.exp(tf.minimum(x, 0.0)), EVERYWHERE)

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu_slope(x: tf.Tensor) -> tf.Tensor:
    left = SELU_ALPHA * tf.exp(tf.minimum(x, 0.0))
    return SELU_SCALE * tf.where(x > 0, tf.ones_like(x), left)


SELU = Curve(tf.nn.selu, _selu_slope, BELOW_ZERO)
"""Klambauer et al. 2017; it has a kink at 0."""


def _swish_slope(x: tf.Tensor) -> tf.Tensor:
    return tf.sigmoid(x) * (1.0 + x * tf.sigmoid(-x))


SWISH = Curve(
    lambda x: x * tf.sigmoid(x),
    _swish_slope,
    ((-2.3993572805154676, 2.3993572805154676),),
    lowest=-1.2784645427610738,
)
"""x sigmoid(x), also called SiLU (Ramachandran et al. 2017)."""


def _normal(x: tf.Tensor) -> tf.Tensor:
    """The distribution function of a standard normal variable."""
    return 0.5 * tf.math.erfc(-x * math.sqrt(0.5))


GELU = Curve(
    lambda x: x * _normal(x),
    lambda x: _normal(x) + x * tf.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi),
    ((-math.sqrt(2.0), math.sqrt(2.0)),),
    lowest=-0.7517915246935645,
)
"""Hendrycks and Gimpel 2016."""

GELU_INNER, GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _gelu_gate(x: tf.Tensor) -> tf.Tensor:
    """(1 + tanh(...)) / 2 of the approximate GELU is a sigmoid."""
    return 2.0 * GELU_INNER * (x + GELU_CUBE * x * x * x)


def _gelu_tanh_slope(x: tf.Tensor) -> tf.Tensor:
    gate, rise = _gelu_gate(x), 2.0 * GELU_INNER * (1.0 + 3.0 * GELU_CUBE * x * x)
    return tf.sigmoid(gate) * (1.0 + x * tf.sigmoid(-gate) * rise)


GELU_TANH = Curve(
    lambda x: x * tf.sigmoid(_gelu_gate(x)),
    _gelu_tanh_slope,
    ((-1.418504008790828, 1.418504008790828),),
    lowest=-0.7524614220710163,
)
"""The approximation of GELU by tanh, of the same paper."""


def _mish_slope(x: tf.Tensor) -> tf.Tensor:
    bent = tf.nn.softplus(x)
    return tf.tanh(bent) + x * tf.sigmoid(x) / tf.cosh(bent) ** 2


MISH = Curve(
    lambda x: x * tf.tanh(tf.nn.softplus(x)),
    _mish_slope,
    ((-2.256376396360793, 1.4905711794854284),),
    lowest=-1.192431214515495,
)
"""x tanh(softplus(x)) (Misra 2019)."""
