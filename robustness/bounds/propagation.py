"""Bounds through a whole network: forward by intervals, backward by substitution of lines around
the ReLUs."""

from collections.abc import Sequence

import tensorflow as tf

from robustness.bounds.activations import Relu
from robustness.bounds.layers import Box, Layer, Lines, dot
from robustness.bounds.rounding import FEW
from robustness.types import BatchTensor, DoublesTensor, ImagesTensor, LabelsTensor, LogitsTensor


class Propagation:
    """The layers of one network over L-infinity balls of one radius, cut to [0, 1].

    Args:
        layers: what `robustness.bounds.trace.trace` gives; the last one gives the logits.
        radius: radius of the balls.

    Attributes:
        relus: places of the ReLUs among the layers. What is said about ReLUs comes in that order.
    """

    def __init__(self, layers: Sequence[Layer], radius: float) -> None:
        self._layers = layers
        self._radius = radius
        self.relus = [place for place, layer in enumerate(layers) if isinstance(layer, Relu)]

    # Only Python loops inside: converting them took most of the tracing.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def boxes(self, x: ImagesTensor, signs: Sequence[BatchTensor] | None = None) -> list[Box]:
        """Bounds of every layer's output by intervals.

        Args:
            x: images in [0, 1], the centres of the balls.
            signs: sign of the operand of each ReLU, as far as it is taken for granted: 1 (not below
                0), -1 (not above 0) or 0 (open). A box may then be empty, with low above high: no
                image of the ball has these signs.
        """
        operands = [self._layers[place].inputs[0] for place in self.relus]
        assumed = dict(zip(operands, signs or [], strict=False))
        boxes = [Box(tf.maximum(x - self._radius, 0.0), tf.minimum(x + self._radius, 1.0))]
        for place, layer in enumerate(self._layers[1:], start=1):
            box = layer.interval(*(boxes[i] for i in layer.inputs))
            if place in assumed:
                sign = assumed[place]
                low = tf.where(sign > 0, tf.maximum(box.low, 0.0), box.low)
                box = Box(low, tf.where(sign < 0, tf.minimum(box.high, 0.0), box.high))
            boxes.append(box)
        return boxes

    def relu_operands(self, boxes: Sequence[Box]) -> list[Box]:
        """The boxes of what goes into each ReLU."""
        return [boxes[self._layers[place].inputs[0]] for place in self.relus]

    # Only Python loops inside: converting them took most of the tracing.
    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def lower_bound(
        self,
        boxes: Sequence[Box],
        a: LogitsTensor,
        lines: Sequence[Lines] | None = None,
        multipliers: Sequence[BatchTensor] | None = None,
        merged: bool = False,
    ) -> tuple[DoublesTensor, list[BatchTensor]]:
        """Lower bound of a * output over the boxes, by backward substitution.

        Args:
            boxes: bounds of every layer's output.
            a: coefficients of the logits.
            lines: lines around each ReLU; None is CROWN's own choice.
            multipliers: Lagrange's, for what `boxes` took for granted as a constraint: of the
                operand of each ReLU, with its sign, 0 where none was taken for granted.
            merged: whether to stop at the last layers that are not linear and take their boxes
                (intervals), instead of going back to the image (CROWN).

        Returns:
            the bound; and the coefficients of the output of each ReLU (none where `merged`).
        """
        given = dict(zip(self.relus, lines or [], strict=False))
        held = dict(zip(self.relus, multipliers or [], strict=False))
        coefficients = {len(self._layers) - 1: a}
        total = tf.zeros(tf.shape(a)[:1], tf.float64)
        of_relus: list[BatchTensor] = []
        for place in reversed(range(len(self._layers))):
            a_here = coefficients.pop(place, None)
            if a_here is None:
                continue
            layer, box = self._layers[place], boxes[place]
            if place == 0 or (merged and not layer.linear):
                total += dot(tf.nn.relu(a_here), box.low) + dot(tf.minimum(a_here, 0.0), box.high)
                continue
            operands = [boxes[i] for i in layer.inputs]
            error = layer.error(*operands)
            if error is not None:
                total -= dot(tf.abs(a_here), error)
            backward, constant = layer.backward(a_here, *operands, lines=given.get(place))
            total += constant
            if isinstance(layer, Relu):
                of_relus.insert(0, a_here)
                if place in held:  # sign * operand >= 0, so taking it off can only lower the sum
                    (part,) = backward
                    backward = [part - held[place]]
                    total -= FEW * dot(tf.abs(part) + tf.abs(held[place]), operands[0].magnitude)
            for i, part in zip(layer.inputs, backward, strict=True):
                part.shape[1:].assert_is_compatible_with(boxes[i].low.shape[1:])
                if i in coefficients:
                    part += coefficients[i]
                    total -= FEW * dot(tf.abs(part), boxes[i].magnitude)
                coefficients[i] = part
        return total, of_relus


def margin(boxes: Sequence[Box], y: LabelsTensor, other: LabelsTensor) -> LogitsTensor:
    """Coefficients of logit y - logit other."""
    classes = boxes[-1].low.shape[1]
    return tf.one_hot(y, classes) - tf.one_hot(other, classes)
