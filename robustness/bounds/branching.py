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
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from jaxtyping import Float32

from robustness.ascent import adam
from robustness.bounds.activations import Relu
from robustness.bounds.layers import Box, Lines
from robustness.bounds.propagation import Propagation, margin
from robustness.types import (
    BatchTensor,
    Doubles,
    DoublesTensor,
    FlagsTensor,
    FloatArray,
    Images,
    ImagesTensor,
    Labels,
    LabelsTensor,
    LogitsTensor,
)

DOMAINS = 256
"""How many domains a margin is given."""

ROWS = 64
"""Domains that are bounded at once, where their values fit into the memory; it changes memory, not
results."""

STATES = 1 << 31
"""Bytes that the domains of a margin may take; a network whose domains are larger has fewer."""

STEPS = 6
"""Steps of Adam on the lines and multipliers of a domain, which begin where its parent's ended."""

RATE = 0.3
"""Adam's step on lines, and on multipliers in units of the mean coefficient of their layer's open
ReLUs."""

DECAY = (0.9, 0.99)
"""Adam's decays. The second is not the published 0.999, whose memory of a thousand steps says
little where there are so few."""


Scores = Float32[tf.Tensor, "n relus"]


class State(NamedTuple):
    """What a domain hands down: for each ReLU layer [n, ...] of signs, lines and multipliers; of a
    single domain without n."""

    signs: list[BatchTensor]
    lines: list[Lines]
    multipliers: list[BatchTensor]


class Domain(NamedTuple):
    """A ball, given by its row among the images, with what is known of it."""

    row: int
    root: bool
    state: State


class Free(NamedTuple):
    """What Adam moves: the lines, and the multipliers in their units."""

    lines: list[Lines]
    multipliers: list[BatchTensor]


class BranchAndBound:
    """Branch and bound on the margins of one network, compiled once.

    Args:
        network: its layers over balls of one radius.
        images: their specification.
        rows: domains that are bounded at once, at most.
    """

    def __init__(self, network: Propagation, images: tf.TensorSpec, rows: int = ROWS) -> None:
        self._network = network
        self._rows = min(ROWS, rows)
        labels, roots = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.bool)
        operands = network.relu_operands(network.boxes(tf.zeros([1, *images.shape[1:]])))
        specs = [tf.TensorSpec([None, *box.low.shape[1:]], tf.float32) for box in operands]
        state = State(specs, [Lines(spec, spec) for spec in specs], specs)
        self._nothing = tf.nest.map_structure(
            lambda spec: np.zeros(spec.shape[1:], np.float32), state
        )
        bytes_a_domain = sum(array.nbytes for array in tf.nest.flatten(self._nothing))
        self._domains = max(1, min(DOMAINS, STATES // max(bytes_a_domain, 1)))
        self._bound = tf.function(
            self._bound_of, input_signature=[images, labels, labels, roots, state]
        )

    def margins(self, x: Images, y: Labels, other: Labels) -> Doubles:
        """A lower bound of logit y - logit other: positive where it is proven, -infinity
        elsewhere; so everywhere where there is no ReLU to branch on."""
        if not self._network.relus:
            return np.full(len(x), -np.inf)
        stack = [Domain(row, True, self._nothing) for row in reversed(range(len(x)))]
        lowest, spent = np.full(len(x), np.inf), np.zeros(len(x), int)
        while stack:
            taken = [stack.pop() for _ in range(min(self._rows, len(stack)))]
            rows = np.array([domain.row for domain in taken])
            roots = np.array([domain.root for domain in taken])
            states = tf.nest.map_structure(
                lambda *parts: np.stack(parts), *(domain.state for domain in taken)
            )
            bounded = self._bound(x[rows], y[rows], other[rows], roots, states)
            bounds, splits, states = tf.nest.map_structure(np.asarray, bounded)
            np.add.at(spent, rows, 1)
            for i, (row, bound, split) in enumerate(zip(rows, bounds, splits, strict=True)):
                if bound > 0:
                    lowest[row] = min(lowest[row], bound)
                elif split < 0 or spent[row] >= self._domains:
                    lowest[row] = -np.inf
                else:
                    state = tf.nest.map_structure(lambda array, i=i: array[i], states)
                    stack += cases(int(row), state, int(split))
            stack = [domain for domain in stack if lowest[domain.row] > 0]
        return lowest

    def _bound_of(
        self, x: ImagesTensor, y: LabelsTensor, other: LabelsTensor, root: FlagsTensor, state: State
    ) -> tuple[DoublesTensor, LabelsTensor, State]:
        """Bound domains.

        Args:
            x, y, other: as of `margins`.
            root: where the lines begin afresh, with CROWN's.
            state: what the parents hand down.

        Returns:
            the lower bound, infinity where a domain is empty; the number of the best ReLU to split,
            -1 where all signs are known; and the state with optimised lines and multipliers.
        """
        boxes = self._network.boxes(x, state.signs)
        operands, a = self._network.relu_operands(boxes), margin(boxes, y, other)
        crown = [Relu.crown_lines(box) for box in operands]
        lines = tf.nest.map_structure(
            lambda new, old: tf.where(like(root, new), new, old), crown, state.lines
        )
        _, coefficients = self._network.lower_bound(boxes, a, crown)
        units = [unit(h, box) for h, box in zip(coefficients, operands, strict=True)]
        scales = [sign * u for sign, u in zip(state.signs, units, strict=True)]
        free = Free(lines, [m / u for m, u in zip(state.multipliers, units, strict=True)])
        best, free = self._climbed(boxes, a, scales, free)
        last, coefficients = self._lower_bound(boxes, a, scales, free)
        bounds = tf.where(empty(operands), tf.constant(np.inf, tf.float64), tf.maximum(best, last))
        multipliers = [u * one for u, one in zip(units, free.multipliers, strict=True)]
        split = best_split(coefficients, operands)
        return bounds, split, State(state.signs, free.lines, multipliers)

    def _climbed(
        self, boxes: list[Box], a: LogitsTensor, scales: list[BatchTensor], free: Free
    ) -> tuple[DoublesTensor, Free]:
        """The best bound on the way of projected Adam, and where it ends."""
        moments = (tf.nest.map_structure(tf.zeros_like, free),) * 2
        best = tf.fill(tf.shape(a)[:1], tf.constant(-np.inf, tf.float64))
        for step in tf.range(STEPS):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(free)
                bound, _ = self._lower_bound(boxes, a, scales, free)
            best = tf.maximum(best, bound)
            gradients = tape.gradient(
                bound, free, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            moved, moments = adam(free, moments, gradients, RATE, step, DECAY)
            free = Free(
                tf.nest.map_structure(lambda line: tf.clip_by_value(line, 0.0, 1.0), moved.lines),
                [tf.nn.relu(multiplier) for multiplier in moved.multipliers],
            )
        return best, free

    def _lower_bound(
        self, boxes: list[Box], a: LogitsTensor, scales: list[BatchTensor], free: Free
    ) -> tuple[DoublesTensor, list[BatchTensor]]:
        """`Propagation.lower_bound` with multipliers in their units and of their signs."""
        pairs = zip(scales, free.multipliers, strict=True)
        multipliers = [scale * one for scale, one in pairs]
        bound, coefficients = self._network.lower_bound(boxes, a, free.lines, multipliers)
        return bound, coefficients


def cases(row: int, state: State, split: int) -> list[Domain]:
    """The two domains into which one more sign, of a ReLU by its number through all layers, parts
    one."""
    signs = [with_sign(state.signs, split, sign) for sign in (1, -1)]
    return [Domain(row, False, state._replace(signs=each)) for each in signs]


def with_sign(signs: list[FloatArray], number: int, sign: float) -> list[FloatArray]:
    """The signs with one more, given by its number through all layers."""
    signs = list(signs)
    for layer, array in enumerate(signs):
        if number < array.size:
            signs[layer] = array.copy()
            signs[layer].flat[number] = sign
            break
        number -= array.size
    return signs


def like(mask: FlagsTensor, tensor: BatchTensor) -> tf.Tensor:
    """The mask with as many axes as the tensor."""
    return tf.reshape(mask, [-1] + [1] * (len(tensor.shape) - 1))


def unit(h: BatchTensor, box: Box) -> BatchTensor:
    """The mean size of the coefficients h of open ReLUs: [n, 1, ...]."""
    axes, is_open = list(range(1, len(h.shape))), tf.cast((box.low < 0) & (box.high > 0), h.dtype)
    total = tf.reduce_sum(tf.abs(h) * is_open, axes, keepdims=True)
    return total / tf.maximum(tf.reduce_sum(is_open, axes, keepdims=True), 1.0) + 1e-6


def best_split(coefficients: Sequence[BatchTensor], boxes: Sequence[Box]) -> LabelsTensor:
    """Number of the ReLU whose split promises most, through all layers; -1 where all signs are
    known."""
    scores = [score(h, box) for h, box in zip(coefficients, boxes, strict=True)]
    every = tf.concat(scores, axis=1)
    return tf.where(tf.reduce_max(every, axis=1) > 0, tf.argmax(every, axis=1), -1)


def score(h: BatchTensor, box: Box) -> Scores:
    """What a split of each ReLU promises, 0 where its sign is known.

    It is what the chord's offset costs in the bound; and a little of what the lower line may, as
    Bunel et al. 2020 break ties.
    """
    is_open = (box.low < 0) & (box.high > 0)
    offset = -box.low * box.high / tf.where(is_open, box.high - box.low, 1.0)
    cost = tf.nn.relu(-h) * offset + 1e-3 * tf.abs(h) * tf.minimum(-box.low, box.high)
    return tf.reshape(tf.where(is_open, cost + 1e-20, 0.0), [-1, h.shape[1:].num_elements()])


def empty(boxes: Sequence[Box]) -> FlagsTensor:
    """Domains without an image."""
    parts = []
    for box in boxes:
        crossed = box.low > box.high
        parts.append(tf.reduce_any(crossed, axis=list(range(1, len(crossed.shape)))))
    return tf.reduce_any(tf.stack(parts), axis=0)
