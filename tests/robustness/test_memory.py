"""How many images go through a network at once: what it follows from, and that it is kept."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import EPSILON, STAGES, some_images, trained_model
from small_world import SHAPE

from foundation.errors import RunError
from robustness import memory
from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier
from robustness.config import ApgdCe, BoundName, Pgd, Square, ThreatModel
from robustness.evaluation import Judge
from robustness.memory import bytes_an_image, images_at_once, in_parts

layers = tf_keras.layers


def convolutions(filters: int, classes: int = 3) -> tf_keras.Model:
    image = tf_keras.Input((32, 32, 3))
    x = layers.Conv2D(filters, 3, padding="same", activation="relu")(image)
    return tf_keras.Model(image, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def test_the_size_of_an_image_follows_the_network() -> None:
    """At least the values of the layers, forwards and backwards; and twice as many filters are
    twice as many values."""
    small, large = (bytes_an_image(convolutions(filters), (32, 32, 3)) for filters in (16, 32))
    values = 4 * 32 * 32 * 16  # of one layer, float32
    assert 4 * values <= small <= 12 * values
    assert large / small == pytest.approx(2.0, rel=0.2)
    assert images_at_once(convolutions(4096), (32, 32, 3)) < 20
    assert images_at_once(convolutions(1 << 16), (32, 32, 3)) == 1


def test_a_function_inside_of_the_network_counts_as_well() -> None:
    model = convolutions(16)
    inner = tf.function(lambda x: model(x, training=False))
    called = bytes_an_image(lambda x, training: inner(x), (32, 32, 3))
    plain = bytes_an_image(model, (32, 32, 3))
    assert plain <= called <= 2 * plain  # what goes in and out of the function counts twice


def test_what_cannot_be_counted_takes_few_images() -> None:
    """Values inside of a loop, and those of a size that is not known."""

    def looped(x: tf.Tensor, training: bool) -> tf.Tensor:
        last = tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, 2.0 * x), [0, x])[1]
        return tf.reshape(last, [-1, 3072])[:, :3]

    assert memory.FEW / 2 < images_at_once(looped, (32, 32, 3)) <= memory.FEW


class Counted:
    """A model that notes how many images it was asked about at once."""

    def __init__(self, model: tf_keras.Model) -> None:
        self._model, self.most = model, tf.Variable(0)

    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        self.most.assign(tf.maximum(self.most, tf.shape(x)[0]))
        return self._model(x, training=training)


@pytest.mark.parametrize("batch", [None, 7])
def test_attacks_ask_about_no_more_images_at_once(
    monkeypatch: pytest.MonkeyPatch, batch: int | None
) -> None:
    """And find the same."""
    images, model = some_images(), trained_model()
    if batch is None:
        monkeypatch.setattr(memory, "BUDGET", 11 * bytes_an_image(model, SHAPE))
    counted, threat = Counted(model), ThreatModel(epsilon=EPSILON)
    attacker = Attacker(counted, threat, batch)
    whole = Attacker(model, threat, 1000)
    seeds = np.stack([np.arange(120), np.arange(120)], axis=1)
    for attack in (Pgd(steps=3), ApgdCe(steps=3), Square(queries=3)):
        found = attacker.run(attack, images.x, images.y, seeds)
        expected = whole.run(attack, images.x, images.y, seeds)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    attacker.predict(images.x)
    attacker.gradient(images.x, images.y)
    assert counted.most.numpy() <= (batch or 11)


def test_bounds_are_the_same_in_any_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    images, model = some_images(), trained_model()

    def margins() -> np.ndarray:
        certifier = Certifier(model, SHAPE, EPSILON)
        return certifier.tighten(BoundName.BRANCH_AND_BOUND, images.x, images.y)

    whole = margins()
    monkeypatch.setattr(memory, "BUDGET", 20 * bytes_an_image(model, SHAPE))
    np.testing.assert_allclose(margins(), whole, atol=1e-5)


def test_many_classes_are_bounded_in_small_parts() -> None:
    """The margins by intervals hold the boxes of a layer once a class."""
    few, many = (
        Certifier(convolutions(64, classes), (32, 32, 3), 0.01)._images_at_once
        for classes in (10, 1000)
    )
    assert few / many == pytest.approx((1 + 100) / (1 + 1), rel=0.2)


def test_out_of_memory_is_halved_and_tried_again() -> None:
    asked: list[int] = []

    def small_memory(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        if len(x) > 3:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return 2 * x

    numbers = np.arange(10)
    np.testing.assert_array_equal(in_parts(small_memory, 8, numbers), 2 * numbers)
    assert asked == [8, 4, 2, 2, 2, 2, 2]

    def no_memory(x: np.ndarray) -> np.ndarray:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    with pytest.raises(RunError, match="does not suffice for one image"):
        in_parts(no_memory, 8, numbers)


def test_a_judge_hands_its_batch_on() -> None:
    counted: Any = Counted(trained_model())
    images = some_images()
    judge = Judge(counted, ThreatModel(epsilon=EPSILON), STAGES[:1], SHAPE, batch=5)
    judge.judge(images.x, images.y, images.ids, seed=0)
    assert judge.attacker.batch == 5
    assert judge.certifier is not None
    assert judge.certifier._images_at_once == judge.certifier._rows == 5
