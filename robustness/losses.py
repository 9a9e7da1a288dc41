"""What attacks maximise, image by image.

Every loss grows as the model comes closer to a mistake, and every one except the cross-entropy is
positive exactly where the model is wrong.
"""

from collections.abc import Callable

import tensorflow as tf

from robustness.types import LabelsTensor, LogitsTensor, NumbersTensor

Loss = Callable[[LogitsTensor, LabelsTensor], NumbersTensor]
"""Logits and true classes to the loss."""

VERY_LOW = -1e30
"""Below every logit, and still finite, so that its gradient is zero and not NaN."""


def cross_entropy(logits: LogitsTensor, y: LabelsTensor) -> NumbersTensor:
    """-log softmax(logits)[y]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)


def margin(logits: LogitsTensor, y: LabelsTensor) -> NumbersTensor:
    """Largest other logit minus the true one (Carlini & Wagner 2017)."""
    true = tf.one_hot(y, tf.shape(logits)[1], on_value=True, off_value=False)
    return tf.reduce_max(tf.where(true, VERY_LOW, logits), axis=1) - pick(logits, y)


def dlr(logits: LogitsTensor, y: LabelsTensor) -> NumbersTensor:
    """Difference of logits ratio (Croce & Hein 2020, eq. 6): the margin over the spread of the top
    logits.

    Invariant to shifting and scaling the logits; with two classes it is the margin alone.
    """
    return margin(logits, y) / _spread(logits, 3)


def targeted_dlr(logits: LogitsTensor, y: LabelsTensor, target: LabelsTensor) -> NumbersTensor:
    """The same towards one wrong class (Croce & Hein 2020, eq. 7).

    It needs four classes. With fewer there is no spread: with three, the ratio would be -1 wherever
    the target comes last, and its gradient zero.
    """
    return (pick(logits, target) - pick(logits, y)) / _spread(logits, 4)


def _spread(logits: LogitsTensor, wanted: int) -> NumbersTensor:
    """Largest logit minus the third, or minus the mean of the third and fourth where four are
    wanted; 1 where there are not as many classes."""
    if logits.shape[1] < wanted:
        return tf.ones_like(logits[:, 0])
    top = tf.math.top_k(logits, wanted).values
    return top[:, 0] - tf.reduce_mean(top[:, 2:], axis=1) + 1e-12


def pick(logits: LogitsTensor, classes: LabelsTensor) -> NumbersTensor:
    """The logit of one class an image."""
    return tf.gather(logits, classes, batch_dims=1)
