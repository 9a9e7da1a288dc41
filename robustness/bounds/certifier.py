"""Bounds of a whole network on the margins of logits: intervals, CROWN, alpha-CROWN, branch and
bound.

A margin is the true logit minus another one. An image is proven when the lower bounds of all its
margins are positive: the network, computed in float32, then gives the true class on every image of
the ball. The ball is L-infinity, cut to [0, 1], and larger than epsilon by twice the tolerance of
`robustness.ball.inside_ball`, so that whatever an attack may write is covered.

Sources: intervals with the last linear layers merged into the margin, Gowal et al. 2019; CROWN on
interval intermediate bounds, Zhang et al. 2020 (CROWN-IBP); alpha-CROWN, Xu et al. 2021, with the
slopes of each margin optimised on their own and the intermediate bounds left as they are; branch
and bound stands in `robustness.bounds.branching`.
"""

from collections.abc import Callable
from functools import cached_property
from typing import assert_never

import numpy as np
import tensorflow as tf

from robustness.ascent import Nest, adam
from robustness.ball import BALL_TOLERANCE
from robustness.bounds.activations import Relu
from robustness.bounds.branching import BranchAndBound, like
from robustness.bounds.layers import Lines
from robustness.bounds.propagation import Propagation, margin
from robustness.bounds.trace import NoBoundError, trace
from robustness.config import BoundName, ThreatModel
from robustness.inputs import check_images, check_labels
from robustness.memory import images_at_once, in_parts
from robustness.types import (
    Doubles,
    DoublesTensor,
    Flags,
    Images,
    ImagesTensor,
    Labels,
    LabelsTensor,
    Logits,
    LogitsTensor,
    Model,
    Numbers,
    NumbersTensor,
)

ROWS = 250
"""Margins that the backward bounds treat at once, where their values fit into the memory; it
changes memory, not results."""

BACKWARD_PASSES = 4
"""Values that a backward bound holds for a margin, in units of those of a gradient."""

CLASSES_A_PASS = 10
"""Classes for which the margins by intervals hold as many values as a gradient."""

ALPHA_STEPS, ALPHA_PATIENCE = 40, 8
"""Steps of alpha-CROWN, and how many pass between decisions to give an image up."""

ALPHA_RATE = 0.2
"""Adam's first step on a slope; it falls linearly to a fifth of that."""

ALPHA_DECAY = (0.9, 0.999)
"""Adam's published decays."""


class Certifier:
    """The bounds of one model at one epsilon, compiled once.

    Args:
        model: images in [0, 1] to logits.
        image_shape: height, width, channels.
        epsilon: radius of the L-infinity ball, in pixel units.
        batch: images at once; None follows from what the model needs of memory.

    Raises:
        ConfigError: epsilon is negative or not finite.
        NoBoundError: the model has an operation without a bound, which the message names; or a GPU
            computes in TensorFloat-32.
    """

    def __init__(
        self,
        model: Model,
        image_shape: tuple[int, int, int],
        epsilon: float,
        batch: int | None = None,
    ) -> None:
        ThreatModel(epsilon=epsilon)  # a ball; in a negative one everything would be proven
        if (
            tf.config.list_physical_devices("GPU")
            and tf.config.experimental.tensor_float_32_execution_enabled()
        ):
            raise NoBoundError(
                "the bounds hold for float32 arithmetic, and TensorFloat-32 is on for the GPU: "
                "turn it off with tf.config.experimental.enable_tensor_float_32_execution(False), "
                "or hide the GPU"
            )
        self._model = model  # its variables must live as long as the layers that read them
        self._network = Propagation(trace(model, image_shape), epsilon + 2 * BALL_TOLERANCE)
        self._image_shape, self._batch = image_shape, batch
        self._images = tf.TensorSpec([None, *image_shape], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        one, pair = [self._images, labels], [self._images, labels, labels]
        self._logits = tf.function(
            lambda x: model(x, training=False), input_signature=[self._images]
        )
        self._interval_margins = tf.function(
            self._interval_margins_of, input_signature=one, autograph=False
        )
        self._crown = tf.function(self._crown_of, input_signature=pair, autograph=False)
        self._alpha_start = tf.function(self._alpha_start_of, input_signature=pair, autograph=False)

    @cached_property
    def _alpha_step(self) -> tf.types.experimental.PolymorphicFunction:
        _, lines = self._alpha_start.get_concrete_function().structured_outputs
        state = tf.nest.map_structure(lambda line: tf.TensorSpec(line.shape, line.dtype), lines)
        step = tf.TensorSpec([], tf.int32)
        return tf.function(
            self._alpha_step_of,
            input_signature=[*self._crown.input_signature, state, (state, state), step],
        )

    @cached_property
    def _branching(self) -> BranchAndBound:
        return BranchAndBound(self._network, self._images, self._rows)

    def tighten(
        self, bound: BoundName, x: Images, y: Labels, margins: Logits | None = None
    ) -> Logits:
        """Lower bounds of all margins by one method, nowhere below those already known.

        Args:
            bound: the method.
            x: images in [0, 1].
            y: classes that shall be proven.
            margins: what is known already; every method except intervals only looks at what is open
                there. None: all cheaper bounds are computed first.

        Returns:
            for every class the lower bound of logit y - logit of that class; infinity at y.

        Raises:
            DataError: images or labels are not what a bound can be computed for.
        """
        check_images(x)
        check_labels(y, len(x), self._classes)
        if margins is None or bound is BoundName.IBP:
            known = in_parts(self._interval_margins, self._images_at_once, x, y)
            margins = known if margins is None else np.maximum(margins, known)
            if bound in (BoundName.ALPHA_CROWN, BoundName.BRANCH_AND_BOUND):
                margins = self.tighten(BoundName.CROWN, x, y, margins)
            if bound is BoundName.BRANCH_AND_BOUND:
                margins = self.tighten(BoundName.ALPHA_CROWN, x, y, margins)
        match bound:
            case BoundName.IBP:
                return margins
            case BoundName.CROWN:
                return self._tightened(self.crown_margins, x, y, margins, np.ones(len(x), bool))
            case BoundName.ALPHA_CROWN:
                tried = self._promising(x, y, margins)
                return self._tightened(self.alpha_crown_margins, x, y, margins, tried)
            case BoundName.BRANCH_AND_BOUND:
                tried = self._promising(x, y, margins)
                return self._tightened(self.branching_margins, x, y, margins, tried)
            case never:
                assert_never(never)

    def crown_margins(self, x: Images, y: Labels, other: Labels) -> Numbers:
        """CROWN's bound by itself, of one margin an image: logit y - logit other."""
        return np.asarray(self._crown(x, y, other))

    def alpha_crown_margins(self, x: Images, y: Labels, other: Labels) -> Numbers:
        """alpha-CROWN's bound by itself, up to where it proves something or gives up; as
        `crown_margins`."""
        return self._optimised(x, y, other).astype(np.float32)

    def branching_margins(self, x: Images, y: Labels, other: Labels) -> Numbers:
        """Branch and bound's by itself, a positive number or -infinity; as `crown_margins`."""
        return self._branching.margins(x, y, other).astype(np.float32)

    @cached_property
    def _images_at_once(self) -> int:
        """Images whose margins are bounded by intervals together."""
        passes = 1 + self._classes / CLASSES_A_PASS
        return self._batch or images_at_once(self._model, self._image_shape, passes)

    @cached_property
    def _rows(self) -> int:
        """Margins that are bounded backwards together."""
        fitting = images_at_once(self._model, self._image_shape, BACKWARD_PASSES)
        return min(ROWS, self._batch or fitting)

    @cached_property
    def _classes(self) -> int:
        """Number of logits."""
        return int(self._logits.get_concrete_function().structured_outputs.shape[-1])

    def _tightened(
        self,
        bound: Callable[[Images, Labels, Labels], Numbers],
        x: Images,
        y: Labels,
        margins: Logits,
        tried: Flags,
    ) -> Logits:
        """Apply a bound to the images in `tried`, margin by margin, the worst first.

        An image that keeps one margin open cannot be proven, so its others are left as they are.
        """
        margins = margins.copy()
        rows = np.flatnonzero(tried & ~proven(margins))
        while len(rows):
            others = np.argmin(margins[rows], axis=1)
            bounds = in_parts(bound, self._rows, x[rows], y[rows], others)
            margins[rows, others] = np.maximum(margins[rows, others], bounds)
            rows = rows[margins[rows, others] > 0]
            rows = rows[~proven(margins[rows])]
        return margins

    def _promising(self, x: Images, y: Labels, margins: Logits) -> Flags:
        """Images on which alpha-CROWN is tried: it would have to win back no more than half of what
        lies between the margin at the image itself and its bound. It hardly ever wins more."""
        logits = in_parts(self._logits, self._images_at_once, x)
        at_image = logits[np.arange(len(y)), y][:, None] - logits
        return np.asarray(np.all((margins > -at_image) | (margins > 0), axis=1))

    def _optimised(self, x: Images, y: Labels, other: Labels) -> Doubles:
        """The best bound of one margin an image that projected Adam on the lines around the ReLUs
        reaches.

        Stops for an image when it is proven, or when even the pace of its last steps, kept up to
        the end, would not prove it.
        """
        rows = np.arange(len(x))
        start, lines = self._alpha_start(x, y, other)
        best = np.array(start)
        nothing = tf.nest.map_structure(tf.zeros_like, lines)
        state = (lines, (nothing, nothing))
        for step in range(0, ALPHA_STEPS, ALPHA_PATIENCE):
            before = best[rows]
            bound, *moved = self._alpha_step(
                x[rows], y[rows], other[rows], *state, tf.constant(step, tf.int32)
            )
            best[rows] = np.maximum(before, bound)
            chunks_left = (ALPHA_STEPS - step) / ALPHA_PATIENCE - 1
            reachable = best[rows] + (best[rows] - before) * chunks_left
            hopeful = (best[rows] <= 0) & (reachable > 0)
            rows = rows[hopeful]
            if not len(rows):
                break
            state = kept(moved, hopeful)
        return best

    # The functions below are compiled; autograph is off where they have only Python loops.

    def _interval_margins_of(self, x: ImagesTensor, y: LabelsTensor) -> LogitsTensor:
        boxes = self._network.boxes(x)
        classes = boxes[-1].low.shape[1]
        repeated = tf.nest.map_structure(lambda end: tf.repeat(end, classes, axis=0), boxes)
        a = tf.one_hot(y, classes)[:, tf.newaxis] - tf.eye(classes)
        bound, _ = self._network.lower_bound(repeated, tf.reshape(a, [-1, classes]), merged=True)
        margins = tf.reshape(tf.cast(bound, tf.float32), [-1, classes])
        return tf.where(tf.one_hot(y, classes, on_value=True, off_value=False), np.inf, margins)

    def _crown_of(self, x: ImagesTensor, y: LabelsTensor, other: LabelsTensor) -> NumbersTensor:
        boxes = self._network.boxes(x)
        bound, _ = self._network.lower_bound(boxes, margin(boxes, y, other))
        return tf.cast(bound, tf.float32)

    def _alpha_start_of(
        self, x: ImagesTensor, y: LabelsTensor, other: LabelsTensor
    ) -> tuple[DoublesTensor, list[Lines]]:
        """Image by image the better of CROWN's lines and those of the intervals, and their
        bound."""
        boxes = self._network.boxes(x)
        operands, a = self._network.relu_operands(boxes), margin(boxes, y, other)
        crown = [Relu.crown_lines(box) for box in operands]
        interval = [Relu.interval_lines(box) for box in operands]
        first, _ = self._network.lower_bound(boxes, a, crown)
        second, _ = self._network.lower_bound(boxes, a, interval)
        better = first >= second
        lines = tf.nest.map_structure(
            lambda one, two: tf.where(like(better, one), one, two), crown, interval
        )
        return tf.maximum(first, second), lines

    def _alpha_step_of(
        self,
        x: ImagesTensor,
        y: LabelsTensor,
        other: LabelsTensor,
        lines: list[Lines],
        moments: tuple[list[Lines], list[Lines]],
        step: tf.Tensor,
    ) -> tuple[DoublesTensor, list[Lines], tuple[list[Lines], list[Lines]]]:
        """ALPHA_PATIENCE steps of projected Adam; the best bound on the way, and the new state."""
        boxes = self._network.boxes(x)
        a = margin(boxes, y, other)
        best = tf.fill(tf.shape(y), tf.constant(-np.inf, tf.float64))
        for ahead in tf.range(ALPHA_PATIENCE):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(lines)
                bound, _ = self._network.lower_bound(boxes, a, lines)
            best = tf.maximum(best, bound)
            gradients = tape.gradient(
                bound, lines, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            now = tf.cast(step + ahead, tf.float32)
            rate = ALPHA_RATE * (1 - 0.8 * now / ALPHA_STEPS)
            moved, moments = adam(lines, moments, gradients, rate, step + ahead, ALPHA_DECAY)
            lines = tf.nest.map_structure(lambda line: tf.clip_by_value(line, 0.0, 1.0), moved)
        return best, lines, moments


def kept(state: Nest, rows: Flags) -> Nest:
    """The rows of every array of a state."""
    chosen: Nest = tf.nest.map_structure(lambda array: np.asarray(array)[rows], state)
    return chosen


def proven(margins: Logits) -> Flags:
    """Images all of whose margins are positive. NaN proves nothing."""
    return np.asarray(np.all(margins > 0, axis=1))
