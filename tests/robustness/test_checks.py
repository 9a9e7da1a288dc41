"""Honesty checks: each planted defence is flagged by the check meant for it, and a healthy model by
none."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import CLASSES, SHAPE, small_images

from robustness.attacks.attacker import Attacker
from robustness.bounds.certifier import Certifier
from robustness.checks import CHECKS, Measured, Subject, check, run_checks
from robustness.config import CheckName, ThreatModel

pytestmark = pytest.mark.slow

EPSILON = 0.2
NAMES = set(CheckName)


def test_every_name_has_one_function_which_has_its_name() -> None:
    assert list(CHECKS) == list(CheckName)
    assert [measure.__name__ for measure in CHECKS.values()] == list(CheckName)


def test_a_function_without_a_name_is_no_check() -> None:
    def colours_are_pretty(subject: Subject) -> Measured:
        return Measured(passed=True, value=0.0, sentence="")

    with pytest.raises(ValueError, match="colours_are_pretty"):
        check(colours_are_pretty)
    assert set(CHECKS) == NAMES


def trained(seed: int) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv2D(8, 3, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = small_images(2000, seed)
    noise = np.random.default_rng(0).normal(size=images.shape) * 0.15
    model.fit(images / 255.0 + noise, labels, epochs=6, batch_size=30, verbose=0)
    return model


@pytest.fixture(scope="module")
def healthy() -> Subject:
    """A model without tricks, another one as a source of transfers, its bounds, and what it
    serves."""
    model, other = trained(0), trained(1)
    images, labels = small_images(250, 2)
    x = (images / 255.0).astype(np.float32)
    return Subject(
        attacker=Attacker(model, ThreatModel(epsilon=EPSILON)),
        x=x,
        y=labels.astype(np.int64),
        ids=[b"%d" % i for i in range(len(x))],
        serve=lambda x: np.argmax(model(x).numpy(), axis=1),
        sources={"other": other},
        certifier=Certifier(model, SHAPE, EPSILON),
    )


def with_model(
    subject: Subject, change: Callable[[tf.Tensor, Callable[..., tf.Tensor]], tf.Tensor]
) -> Subject:
    """The same images on a model that hides behind `change`; without bounds and without a served
    model."""
    model, threat = subject.attacker.model, subject.attacker.threat
    hidden = Attacker(lambda x, training: change(x, model), threat)
    return replace(subject, attacker=hidden, certifier=None, serve=None)


def saturated(x: tf.Tensor, model: Callable[..., tf.Tensor]) -> tf.Tensor:
    return 1e4 * model(x, training=False)


def rounded(x: tf.Tensor, model: Callable[..., tf.Tensor]) -> tf.Tensor:
    return model(tf.round(x * 3) / 3, training=False)


def not_a_number(x: tf.Tensor, model: Callable[..., tf.Tensor]) -> tf.Tensor:
    return tf.where(x[:, 0, 0] > 0.2, np.nan, model(x, training=False))


def noisy(x: tf.Tensor, model: Callable[..., tf.Tensor]) -> tf.Tensor:
    return model(x + tf.random.normal(tf.shape(x), stddev=0.1), training=False)


def shattered(x: tf.Tensor, model: Callable[..., tf.Tensor]) -> tf.Tensor:
    """Gradients of a ripple that is too fine to change the image but steep enough to drown its
    own."""
    return model(x + 0.02 * tf.sin(2000.0 * x), training=False)


def test_a_healthy_model_passes_every_check(healthy: Subject) -> None:
    found = {check.name: check for check in run_checks(healthy)}
    assert set(found) == NAMES - {"proofs_hold"}, "nothing is proven of it"
    assert [check.sentence for check in found.values() if not check.passed] == []
    accuracy = np.mean(healthy.white_box)
    assert 0.05 < accuracy < 0.95, "the subject is too strong or too weak to show anything"


@pytest.mark.parametrize(
    ("defence", "flagged_by"),
    [
        (not_a_number, "logits_are_finite"),
        (saturated, "gradients_are_not_zero"),
        (rounded, "gradients_are_not_zero"),
        (rounded, "black_box_finds_no_more"),
        (noisy, "same_seed_same_result"),
        (shattered, "black_box_finds_no_more"),
        (shattered, "transfer_finds_no_more"),
        (shattered, "large_epsilon_breaks_everything"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_planted_defence_is_flagged(
    healthy: Subject, defence: Callable[..., tf.Tensor], flagged_by: str
) -> None:
    found = measured(with_model(healthy, defence), flagged_by)
    assert not found.passed, found.sentence


def test_a_signature_that_serves_another_model_is_flagged(healthy: Subject) -> None:
    other = replace(
        healthy, serve=lambda x: np.argmax(healthy.sources["other"](x).numpy()[:, ::-1], axis=1)
    )
    assert not measured(other, "served_model_is_the_evaluated_one").passed


def test_proofs_that_nobody_breaks_hold(healthy: Subject) -> None:
    model, small = healthy.attacker.model, EPSILON / 20
    assert isinstance(model, tf_keras.Model)
    attacker = Attacker(model, ThreatModel(epsilon=small))
    proving = replace(healthy, attacker=attacker, certifier=Certifier(model, SHAPE, small))
    found = measured(proving, "proofs_hold")
    assert found.passed
    assert re.match(r"0 of [1-9]\d* proven images", found.sentence)


def test_bounds_of_another_model_are_refuted(healthy: Subject) -> None:
    """Bounds that were computed for a smaller ball than the attack's prove too much."""
    model = healthy.attacker.model
    assert isinstance(model, tf_keras.Model)
    other = replace(healthy, certifier=Certifier(model, SHAPE, EPSILON / 20))
    assert not measured(other, "proofs_hold").passed


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("iterated_beats_one_step", {"fgsm": 0.50, "pgd": 0.55}),
        ("attack_has_converged", {"pgd": 0.60, "long_pgd": 0.55}),
        (
            "black_box_finds_no_more",
            {"white_box": 1.0},
        ),  # as if white-box attacks had broken nothing
        ("transfer_finds_no_more", {"white_box": 1.0}),
        ("accuracy_falls_with_epsilon", {"pgd": 1.0, "right": 0.9}),
        ("noise_does_not_help", {"right": 0.5}),
    ],
)
def test_thresholds(healthy: Subject, name: str, put: dict[str, float]) -> None:
    """With measurements put in place of the subject's own, the verdict turns."""
    subject = replace(healthy)
    for attribute, share in put.items():
        subject.__dict__[attribute] = np.arange(len(healthy.y)) < share * len(healthy.y)
    assert not measured(subject, name).passed


@pytest.mark.parametrize(
    "name", ["served_model_is_the_evaluated_one", "proofs_hold", "transfer_finds_no_more"]
)
def test_what_does_not_apply_is_left_out(healthy: Subject, name: str) -> None:
    bare = replace(healthy, serve=None, certifier=None, sources={})
    assert CHECKS[CheckName(name)](bare) is None


def test_a_value_that_is_not_a_number_is_none(healthy: Subject) -> None:
    """So that it can be written as JSON."""
    found = measured(with_model(healthy, not_a_number), "same_seed_same_result")
    assert np.isnan(found.value)
    sick = replace(with_model(healthy, not_a_number), x=healthy.x[:20], y=healthy.y[:20])
    checks = {check.name: check for check in run_checks(replace(sick, ids=healthy.ids[:20]))}
    assert checks[CheckName.SAME_SEED_SAME_RESULT].value is None
    assert not checks[CheckName.SAME_SEED_SAME_RESULT].passed


def measured(subject: Subject, name: str) -> Measured:
    """What the check of that name finds."""
    found = CHECKS[CheckName(name)](subject)
    assert found is not None
    return found


@pytest.mark.parametrize(("epsilon", "radii"), [(0.9, "0.45 0.9 1"), (1.0, "0.5 1"), (0.0, "0")])
def test_no_radius_is_larger_than_any_can_be(healthy: Subject, epsilon: float, radii: str) -> None:
    """In L-infinity that is 1."""
    threat = ThreatModel(epsilon=epsilon)
    wide = replace(healthy, attacker=Attacker(healthy.attacker.model, threat))
    sentence = measured(wide, "accuracy_falls_with_epsilon").sentence
    assert re.findall(r" at ([\d.]+\d|\d)", sentence)[1:] == radii.split()


def test_a_check_is_told_of_when_it_begins(
    healthy: Subject, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who waits for a long one shall read its name, and not that of the one before."""
    told: list[list[str]] = []

    def measure(_: Subject) -> None:
        told.append([record.getMessage() for record in caplog.records])

    names = list(CHECKS)[:2]
    for name in CHECKS:
        monkeypatch.setitem(CHECKS, name, measure)
    with caplog.at_level("INFO", "gauntlet.checks"):
        assert list(run_checks(healthy)) == []
    assert told[:2] == [[f"check {names[0]}"], [f"check {names[0]}", f"check {names[1]}"]]
    assert sum(record.advance for record in caplog.records) == len(CHECKS) - 1
