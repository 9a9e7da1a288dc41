"""Branch and bound: a margin is proven by cases, on the signs of what goes into the ReLUs.

A domain is a ball of which the signs of some ReLUs' operands are taken for granted. Where its lower
bound is not positive, one more sign is split into its two cases; a margin is proven when every
domain's bound is. With all signs given a network is linear, so in exact arithmetic it is decided in
the end; here each margin has `DOMAINS` domains.

Sources: branch and bound on ReLUs and the choice of the split, Bunel et al. 2020 (the loss of the
chord's offset); the signs as constraints with multipliers in the backward bound, Wang et al. 2021
(beta-CROWN). The intermediate bounds are intervals that know the signs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from robustness.bounds.layers import Box, Lines, Relu
from robustness.bounds.propagation import Propagation, margin
from robustness.types import FloatArray, IntArray

DOMAINS = 256
"""How many domains a margin is given."""

ROWS = 64
"""Domains that are bounded at once; it changes memory, not results."""

STEPS = 6
"""Steps of Adam on the lines and multipliers of a domain, which begin where its parent's ended."""

RATE = 0.3
"""Adam's step on lines, and on multipliers in units of the mean coefficient of their layer's open
ReLUs."""


class State(NamedTuple):
    """What a domain hands down: for each ReLU layer float32 [n, ...] of signs, lines and
    multipliers."""

    signs: list[Any]
    lines: list[Lines]
    multipliers: list[Any]


class Domain(NamedTuple):
    """A ball, given by its row among the images, with what is known of it."""

    row: int
    root: bool
    state: State


def make_bounder(network: Propagation, signature: Sequence[tf.TensorSpec]) -> Any:
    """A compiled function (images, labels, others, root, state) -> (bound, split, state).

    Args:
        network: over whose balls is bounded.
        signature: of images, labels and others, as `Certifier.crown_margins` takes them.

    The function takes `root`, bool [n], where the lines begin anew, with CROWN's; it gives the
    lower bound float64 [n], infinity where a domain is empty; the number of the best ReLU to split
    int64 [n], -1 where all signs are known; and the state with optimised lines and multipliers.
    """

    def bound(
        x: tf.Tensor, y: tf.Tensor, other: tf.Tensor, root: tf.Tensor, state: State
    ) -> tuple[tf.Tensor, tf.Tensor, State]:
        boxes = network.boxes(x, state.signs)
        operands, a = network.relu_operands(boxes), margin(boxes, y, other)
        crown = [Relu.crown_lines(box) for box in operands]
        lines = tf.nest.map_structure(
            lambda new, old: tf.where(like(root, new), new, old), crown, state.lines
        )
        _, coefficients = network.lower_bound(boxes, a, crown)
        units = [unit(h, box) for h, box in zip(coefficients, operands, strict=True)]
        variables = (lines, [m / u for m, u in zip(state.multipliers, units, strict=True)])
        means = squares = tf.nest.map_structure(tf.zeros_like, variables)
        best = tf.fill(tf.shape(y), tf.constant(-np.inf, tf.float64))

        def signed(free: list[tf.Tensor]) -> list[tf.Tensor]:
            return [sign * u * one for sign, u, one in zip(state.signs, units, free, strict=True)]

        for step in tf.range(STEPS):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                found, _ = network.lower_bound(boxes, a, variables[0], signed(variables[1]))
            best = tf.maximum(best, found)
            gradients = tape.gradient(
                found, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            now = tf.cast(step, tf.float32)
            means = tf.nest.map_structure(lambda m, g: 0.9 * m + 0.1 * g, means, gradients)
            squares = tf.nest.map_structure(
                lambda s, g: 0.99 * s + 0.01 * g * g, squares, gradients
            )
            rate = RATE * tf.sqrt(1 - 0.99 ** (now + 1)) / (1 - 0.9 ** (now + 1))
            moved = tf.nest.map_structure(
                lambda value, m, s, rate=rate: value + rate * m / (tf.sqrt(s) + 1e-12),
                variables,
                means,
                squares,
            )
            variables = (
                tf.nest.map_structure(lambda line: tf.clip_by_value(line, 0.0, 1.0), moved[0]),
                [tf.nn.relu(multiplier) for multiplier in moved[1]],
            )
        found, coefficients = network.lower_bound(boxes, a, variables[0], signed(variables[1]))
        scores = tf.concat(
            [score(h, box) for h, box in zip(coefficients, operands, strict=True)], axis=1
        )
        split = tf.where(tf.reduce_max(scores, axis=1) > 0, tf.argmax(scores, axis=1), -1)
        bounds = tf.where(empty(operands), tf.constant(np.inf, tf.float64), tf.maximum(best, found))
        held = [u * one for u, one in zip(units, variables[1], strict=True)]
        return bounds, split, State(state.signs, variables[0], held)

    shapes = [
        box.low.shape
        for box in network.relu_operands(network.boxes(tf.zeros([1, *signature[0].shape[1:]])))
    ]
    specs = [tf.TensorSpec([None, *shape[1:]], tf.float32) for shape in shapes]
    state = State(specs, [Lines(spec, spec) for spec in specs], specs)
    return tf.function(bound, input_signature=[*signature, tf.TensorSpec([None], tf.bool), state])


def branch_and_bound(
    bounder: Any, x: FloatArray, y: IntArray, other: IntArray
) -> npt.NDArray[np.float64]:
    """A lower bound of one margin an image: positive where it is proven, else -infinity.

    Args:
        bounder: of `make_bounder`.
        x: float32 [n, h, w, c] in [0, 1].
        y, other: int64 [n].

    Returns:
        float64 [n], bounds of logit y - logit other.
    """
    nothing = tf.nest.map_structure(
        lambda spec: np.zeros(spec.shape[1:], np.float32), bounder.input_signature[-1]
    )
    stack = [Domain(row, True, nothing) for row in reversed(range(len(x)))]
    lowest, spent = np.full(len(x), np.inf), np.zeros(len(x), int)
    while stack:
        taken = [stack.pop() for _ in range(min(ROWS, len(stack)))]
        rows = np.array([domain.row for domain in taken])
        first = np.array([domain.root for domain in taken])
        state = tf.nest.map_structure(
            lambda *parts: np.stack(parts), *(domain.state for domain in taken)
        )
        bounds, splits, state = tf.nest.map_structure(
            np.asarray, bounder(x[rows], y[rows], other[rows], first, state)
        )
        np.add.at(spent, rows, 1)
        for i, (row, bound, split) in enumerate(zip(rows, bounds, splits, strict=True)):
            if bound > 0:
                lowest[row] = min(lowest[row], bound)
            elif split < 0 or spent[row] >= DOMAINS:
                lowest[row] = -np.inf
            else:
                here = tf.nest.map_structure(lambda array, i=i: array[i], state)
                stack += [
                    Domain(row, False, here._replace(signs=with_sign(here.signs, split, sign)))
                    for sign in (1, -1)
                ]
        stack = [domain for domain in stack if lowest[domain.row] > 0]
    return lowest


def with_sign(
    signs: list[npt.NDArray[np.float32]], number: int, sign: float
) -> list[npt.NDArray[np.float32]]:
    """The signs with one more, given by its number through all layers."""
    signs = list(signs)
    for layer, array in enumerate(signs):
        if number < array.size:
            signs[layer] = array.copy()
            signs[layer].flat[number] = sign
            break
        number -= array.size
    return signs


def like(mask: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    """The mask bool [n] with the rank of a tensor [n, ...]."""
    return tf.reshape(mask, [-1] + [1] * (len(tensor.shape) - 1))


def unit(h: tf.Tensor, box: Box) -> tf.Tensor:
    """The mean size of the coefficients h of open ReLUs: float32 [n, 1, ...]."""
    axes, is_open = list(range(1, len(h.shape))), tf.cast((box.low < 0) & (box.high > 0), h.dtype)
    total = tf.reduce_sum(tf.abs(h) * is_open, axes, keepdims=True)
    return total / tf.maximum(tf.reduce_sum(is_open, axes, keepdims=True), 1.0) + 1e-6


def score(h: tf.Tensor, box: Box) -> tf.Tensor:
    """What a split of each ReLU promises, 0 where its sign is known: float32 [n, elements].

    It is what the chord's offset costs in the bound; and a little of what the lower line may, as
    Bunel et al. 2020 break ties.
    """
    is_open = (box.low < 0) & (box.high > 0)
    offset = -box.low * box.high / tf.where(is_open, box.high - box.low, 1.0)
    cost = tf.nn.relu(-h) * offset + 1e-3 * tf.abs(h) * tf.minimum(-box.low, box.high)
    return tf.reshape(tf.where(is_open, cost + 1e-20, 0.0), [-1, h.shape[1:].num_elements()])


def empty(boxes: Sequence[Box]) -> tf.Tensor:
    """Domains without an image: bool [n]."""
    each = [
        tf.reduce_any(box.low > box.high, axis=list(range(1, len(box.low.shape)))) for box in boxes
    ]
    return tf.reduce_any(tf.stack(each), axis=0)
