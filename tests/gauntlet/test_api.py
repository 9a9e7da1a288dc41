"""Evaluating arrays from Python: the numbers and gates of the command line."""

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.stats import binomtest
from small_classifier import LINEAR_EPSILON as EPSILON
from small_classifier import linear_model, some_images
from small_world import CLASSES, SHAPE

import gauntlet.api as g
from foundation.errors import ConfigError, DataError
from robustness.config import ThreatModel
from robustness.evaluation import Judge
from robustness.suites import SuiteName, suite

QUICK = ("fgsm", "pgd:10")


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return linear_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.fixture(scope="module")
def report(model: tf_keras.Model, batch: SimpleNamespace) -> g.Report:
    return g.evaluate(model, batch.x, batch.y, epsilon=EPSILON, attacks=QUICK)


def test_the_example_of_the_page(report: g.Report) -> None:
    assert report.certified >= 0.2
    gates = report.check(worst_case=0.4)
    assert {gate.name for gate in gates} >= {"clean", "worst_case", "certified"}
    with pytest.raises(g.GatesRefused, match=r"worst_case: .* of 120 images .*>= 99.00%") as error:
        report.check(worst_case=0.99)
    assert [gate.name for gate in error.value.gates] == ["worst_case"]
    assert isinstance(error.value, AssertionError), "so that a test fails by it"


def test_the_judge_is_that_of_the_pipeline(
    model: tf_keras.Model, batch: SimpleNamespace, report: g.Report
) -> None:
    stages = suite(SuiteName.FAST, QUICK)
    judge = Judge(model, ThreatModel(epsilon=EPSILON), stages, SHAPE)
    verdict = judge.judge(batch.x, batch.y, batch.ids, 0)
    assert (report.verdict.broken_by == verdict.broken_by).all()
    assert (report.verdict.certified_by == verdict.certified_by).all()
    assert report.worst_case == np.mean(verdict.broken_by == "")
    assert report.certified == np.mean(verdict.certified_by != "")


def test_attacked_images_break_the_model_inside_the_ball(
    model: tf_keras.Model, batch: SimpleNamespace, report: g.Report
) -> None:
    broken = ~np.isin(report.verdict.broken_by, ["", "clean"])
    x_adv = report.verdict.x_adv[broken]
    assert broken.any()
    assert np.abs(x_adv - batch.x[broken]).max() <= EPSILON + 1e-6
    assert (np.argmax(model(x_adv), axis=1) != batch.y[broken]).all()


def test_intervals_are_exact(report: g.Report) -> None:
    for name, (low, high) in report.intervals.items():
        share = getattr(report, name)
        exact = binomtest(round(share * 120), 120).proportion_ci(0.95, method="exact")
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_batches_change_nothing(
    model: tf_keras.Model,
    batch: SimpleNamespace,
    report: g.Report,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(g, "BATCH", 50)
    again = g.evaluate(
        model, batch.x, batch.y, epsilon=EPSILON, attacks=QUICK, checks=False, batch=7
    )
    assert (again.verdict.broken_by == report.verdict.broken_by).all()
    assert again.verdict.x_adv.shape == batch.x.shape


def test_bytes_are_pixels(model: tf_keras.Model, batch: SimpleNamespace, report: g.Report) -> None:
    x = np.round(batch.x * 255).astype(np.uint8)
    again = g.evaluate(model, x, batch.y, epsilon=EPSILON, attacks=QUICK, checks=False)
    assert again.clean == report.clean


def of_keras_3(model: tf_keras.Model) -> Any:
    layers = keras.layers
    three = keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )
    three.set_weights(model.get_weights())
    return three


def as_function(model: tf_keras.Model) -> Any:
    return lambda x: model(x, training=False)


@pytest.mark.parametrize("form", [of_keras_3, as_function])
def test_a_model_is_judged_alike_in_every_form(
    model: tf_keras.Model, batch: SimpleNamespace, report: g.Report, form: Any
) -> None:
    again = g.evaluate(form(model), batch.x, batch.y, epsilon=EPSILON, attacks=QUICK, checks=False)
    assert (again.clean, again.worst_case) == (report.clean, report.worst_case)
    assert again.certified == report.certified


def test_checks_that_were_left_out_are_no_gates_and_those_that_ran_are(
    model: tf_keras.Model, batch: SimpleNamespace, report: g.Report
) -> None:
    bare = g.evaluate(model, batch.x, batch.y, epsilon=EPSILON, attacks=QUICK, checks=False)
    assert len(bare.gates(clean=0.5)) == 3
    assert len(report.gates(clean=0.5)) > 10


def test_where_no_bound_applies_nothing_is_certified(
    model: tf_keras.Model, batch: SimpleNamespace
) -> None:
    report = g.evaluate(
        model, batch.x, batch.y, epsilon=0.5, norm="l2", attacks=("fgsm",), checks=False
    )
    assert report.certified == 0.0
    assert report.not_certified == "the bounds are for L-infinity"
    assert "none is proven safe (the bounds are for L-infinity)" in str(report)
    with pytest.raises(g.GatesRefused, match="certified"):
        report.check(certified=0.1)


def test_a_model_that_remembers_is_refused(batch: SimpleNamespace) -> None:
    counter = tf.Variable(0.0)

    def remembers(x: tf.Tensor) -> tf.Tensor:
        counter.assign_add(1.0)
        return tf.reshape(x, [tf.shape(x)[0], -1])[:, :CLASSES] + counter

    with pytest.raises(DataError, match="remembers: the model may keep something"):
        g.evaluate(remembers, batch.x, batch.y, epsilon=0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"x": np.zeros((0, *SHAPE))}, DataError, "got none"),
        ({"x": np.zeros((2, 12, 12), np.float32)}, DataError, r"x\[..., None\]"),
        ({"x": np.zeros((120, *SHAPE), np.int32)}, DataError, "or uint8, got int32"),
        ({"x": np.full((120, *SHAPE), 255.0)}, DataError, "divide bytes by 255"),
        ({"x": np.zeros((120, 3, 3, 1))}, DataError, "takes images of shape"),
        ({"y": np.eye(120, CLASSES)}, DataError, "one-hot"),
        ({"y": np.zeros(7, np.int64)}, DataError, "expected 120 labels, one an image"),
        ({"y": np.full(120, 99)}, DataError, "expected labels from 0"),
        ({"epsilon": -1.0}, ConfigError, "epsilon is a finite number"),
        ({"norm": "l1"}, ConfigError, "expected one of linf, l2, got 'l1'"),
        ({"suite": "slow"}, ConfigError, "expected one of fast, autoattack"),
        ({"attacks": ("cw",)}, ConfigError, "unknown attack 'cw'"),
        ({"class_names": ("a",)}, ConfigError, "1 are named"),
        ({"model": 3}, DataError, "expected a Keras model, or a function of images, got 3"),
        ({"model": "/nothing"}, ConfigError, "no such file"),
    ],
)
def test_what_is_no_question_is_refused(
    model: tf_keras.Model,
    batch: SimpleNamespace,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    arguments = {"model": model, "x": batch.x, "y": batch.y, "epsilon": 0.1, "attacks": ("fgsm",)}
    with pytest.raises(error, match=message):
        g.evaluate(**{**arguments, "checks": False, **changes})
