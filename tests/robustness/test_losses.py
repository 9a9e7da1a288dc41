"""The losses that attacks maximise, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from robustness.losses import cross_entropy, dlr, margin, targeted_dlr
from robustness.types import FloatArray, IntArray

EVERY_SIZE = pytest.mark.parametrize("classes", [2, 3, 4, 10])


def answers(classes: int, n: int = 50) -> tuple[FloatArray, IntArray, IntArray]:
    """Logits, true classes and other classes to aim at."""
    random = np.random.default_rng(classes)
    y = random.integers(0, classes, n)
    target = (y + random.integers(1, classes, n)) % classes
    return random.normal(size=(n, classes)).astype(np.float32) * 3, y, target


def by_hand(logits: FloatArray, y: int, target: int) -> dict[str, float]:
    """Every loss of one image with logits float32 [k], as the papers write it, in float64."""
    logits = logits.astype(np.float64)
    top = np.sort(logits)[::-1]
    gap = np.max(np.delete(logits, y)) - logits[y]
    spread = top[0] - top[2] if len(top) >= 3 else 1.0
    targeted_spread = top[0] - (top[2] + top[3]) / 2 if len(top) >= 4 else 1.0
    return {
        "cross_entropy": -np.log(np.exp(logits[y]) / np.exp(logits).sum()),
        "margin": gap,
        "dlr": gap / spread,
        "targeted_dlr": (logits[target] - logits[y]) / targeted_spread,
    }


@EVERY_SIZE
def test_losses_are_those_of_the_papers(classes: int) -> None:
    logits, y, target = answers(classes)
    tensors = tf.constant(logits), tf.constant(y)
    found = {
        "cross_entropy": cross_entropy(*tensors),
        "margin": margin(*tensors),
        "dlr": dlr(*tensors),
        "targeted_dlr": targeted_dlr(*tensors, tf.constant(target)),
    }
    expected = [by_hand(*row) for row in zip(logits, y, target, strict=True)]
    for name, loss in found.items():
        np.testing.assert_allclose(
            loss, [row[name] for row in expected], rtol=1e-4, atol=1e-5, err_msg=name
        )


@EVERY_SIZE
def test_losses_are_positive_exactly_where_the_model_is_wrong(classes: int) -> None:
    logits, y, target = answers(classes)
    wrong = np.argmax(logits, axis=1) != y
    assert 0 < np.sum(wrong) < len(y)
    tensors = tf.constant(logits), tf.constant(y)
    for loss in (margin(*tensors), dlr(*tensors)):
        np.testing.assert_array_equal(loss.numpy() > 0, wrong)
    assert np.all(wrong[targeted_dlr(*tensors, tf.constant(target)).numpy() > 0])


@pytest.mark.parametrize(
    ("targeted", "classes"), [(False, 3), (False, 4), (False, 10), (True, 4), (True, 10)]
)
def test_ratios_do_not_change_when_logits_are_scaled_or_shifted(
    targeted: bool, classes: int
) -> None:
    """So a model cannot hide behind a saturated softmax."""
    logits, y, target = map(tf.constant, answers(classes))
    for changed in (logits * 100, logits / 100, logits + 5, logits * 7 - 3):
        found, expected = (
            targeted_dlr(z, y, target) if targeted else dlr(z, y) for z in (changed, logits)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.any(np.abs(margin(logits * 7, y) - margin(logits, y)) > 1)


@EVERY_SIZE
def test_no_target_is_without_a_gradient(classes: int) -> None:
    """Not even the one that comes last."""
    logits, y, target = answers(classes)
    tensor = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = targeted_dlr(tensor, tf.constant(y), tf.constant(target))
    slope = tape.gradient(loss, tensor).numpy()
    assert np.all(np.abs(slope).max(axis=1) > 1e-3)
    assert np.any(target == np.argmin(logits, axis=1))


def test_equal_logits_are_no_division_by_zero() -> None:
    logits, y, target = tf.ones((1, 5)), tf.constant([2], tf.int64), tf.constant([4], tf.int64)
    for loss in (margin(logits, y), dlr(logits, y), targeted_dlr(logits, y, target)):
        np.testing.assert_array_equal(loss, [0.0])


@EVERY_SIZE
def test_the_margin_climbs_the_nearest_rival_and_leaves_the_true_class(classes: int) -> None:
    logits, y, _ = answers(classes)
    tensor = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = margin(tensor, tf.constant(y))
    rival = np.where(np.arange(classes) == y[:, None], -np.inf, logits).argmax(axis=1)
    expected = np.eye(classes)[rival] - np.eye(classes)[y]
    np.testing.assert_array_equal(tape.gradient(loss, tensor), expected)
