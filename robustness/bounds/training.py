"""Interval bounds to train with: differentiable, following the weights, and cheap.

They leave out what rounding may add, so they prove nothing; `robustness.bounds.certifier` does, and
agrees with them up to rounding.
"""

from collections.abc import Sequence

import tensorflow as tf

from robustness.bounds.activations import Relu
from robustness.bounds.layers import CentredBox
from robustness.bounds.linear import Dense, Shift
from robustness.bounds.rounding import TINY
from robustness.bounds.trace import trace
from robustness.types import (
    BatchTensor,
    ImagesTensor,
    LabelsTensor,
    LogitsTensor,
    Model,
    NumbersTensor,
)

SMALL = 1e-6
"""Below it a sum of centres is none."""

TOLERATED = 0.5
"""Ratio of widths, and of active to inactive ReLUs, below which the warm-up sees something to
mend."""


class TrainingBounds:
    """The interval bounds of one model in training, in float32 also where the model computes in
    mixed precision.

    Args:
        model: images in [0, 1] to logits, all in float32.
        image_shape: height, width, channels.
        variables: weights in training, in the order of the model's own; the model's own when there
            are none.

    Raises:
        NoBoundError: the model has an operation without a bound, which the message names.
    """

    def __init__(
        self, model: Model, image_shape: tuple[int, int, int], variables: Sequence[tf.Variable] = ()
    ) -> None:
        self._layers = trace(model, image_shape, variables or getattr(model, "variables", ()))
        cut = len(self._layers)
        while isinstance(self._layers[cut - 1], Dense | Shift):
            cut -= 1
        self._body, self._tail = self._layers[:cut], self._layers[cut:]

    # Only Python loops inside: converting them took most of the tracing.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def boxes(self, low: ImagesTensor, high: ImagesTensor) -> list[CentredBox]:
        """The bounds of every layer before the last linear ones, over the box from low to
        high."""
        boxes = [CentredBox((low + high) / 2, (high - low) / 2)]
        for layer in self._body[1:]:
            boxes.append(layer.spread(*(boxes[i] for i in layer.inputs)))
        return boxes

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def worst_logits(self, boxes: list[CentredBox], y: LabelsTensor) -> LogitsTensor:
        """Upper bounds of every logit minus that of the true class: Gowal et al. 2019, eq. 9, with
        the last linear layers merged into the difference.

        Args:
            boxes: what `boxes` gave.
            y: true labels.

        Returns:
            the bounds, 0 at y; their cross-entropy bounds that of every image in the box.
        """
        logits = boxes[-1]
        for layer in self._tail:
            logits = layer.spread(logits)
        differences = logits.centre - tf.gather(logits.centre, y, batch_dims=1)[:, tf.newaxis]
        return differences + self._reach(boxes[-1].radius, logits.centre.shape[1], y)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def warm_up_loss(self, boxes: list[CentredBox]) -> NumbersTensor:
        """What keeps intervals from widening and ReLUs from dying out early in training; in
        [0, 1].

        Shi et al. 2021, eq. 8 and 10, averaged over the layers before a ReLU: how far the mean
        width has grown beyond the image's over TOLERATED, and how uneven active and inactive ReLUs
        are. Deviations: every image is taken by itself, so that the loss does not depend on how a
        batch is shared out; and of their balance terms the one of the means is used, not the one of
        the variances.
        """
        image = _mean(boxes[0].radius)
        operands = [boxes[layer.inputs[0]] for layer in self._body if isinstance(layer, Relu)]
        terms = [tf.zeros_like(image)]
        for centre, radius in operands:
            tightness = tf.nn.relu(TOLERATED - image / tf.maximum(_mean(radius), TINY))
            active = _mean(tf.where(centre - radius > 0, centre, 0.0))
            inactive = -_mean(tf.where(centre + radius < 0, centre, 0.0))
            ratio = active / tf.maximum(inactive, SMALL)
            balance = tf.nn.relu(TOLERATED - tf.minimum(ratio, 1.0 / tf.maximum(ratio, SMALL)))
            terms.append(tightness + balance)
        return tf.add_n(terms) / max(len(operands), 1)

    def _reach(self, radius: BatchTensor, classes: int, y: LabelsTensor) -> LogitsTensor:
        """How far each logit minus the true one can lie above its value at the centre."""
        a = tf.eye(classes)[tf.newaxis] - tf.eye(classes)[:, tf.newaxis]
        a = tf.reshape(a, [classes**2, classes])
        for layer in reversed(self._tail):
            a = layer.transpose(a) if isinstance(layer, Dense) else a
        reach = tf.matmul(radius, tf.abs(a), transpose_b=True)  # of every pair of classes
        return tf.gather(tf.reshape(reach, [-1, classes, classes]), y, batch_dims=1)


def _mean(x: BatchTensor) -> NumbersTensor:
    """Mean over everything except the batch."""
    return tf.reduce_mean(x, axis=list(range(1, len(x.shape))))
