"""Honesty checks on few images, and on a model that gives nothing to look at: a check that could
not look has not passed."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from foundation.json import dumps
from robustness.attacks.attacker import Attacker
from robustness.checks import CHECKS, SAMPLE, Measured, Subject, batches, run_checks
from robustness.config import Check, CheckName, ThreatModel
from robustness.tolerance import (
    CONVERGED,
    FAKE,
    TOLERANCE,
    ZERO_GRADIENTS,
    allowed,
    enough,
    escapes,
)

CLASSES, SHAPE = 3, (4, 4, 1)


def brightest(x: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Logits of a model that is right on `subject`: the brightness of three rows."""
    return tf.reshape(10.0 * tf.reduce_mean(x[:, :CLASSES], axis=(2, 3)), [-1, CLASSES])


def subject(n: int, model: Callable[..., tf.Tensor] = brightest) -> Subject:
    """n images with one bright row, which is their class."""
    y = np.arange(n, dtype=np.int64) % CLASSES
    x = np.full((n, *SHAPE), 0.3, np.float32)
    x[np.arange(n), y] = 0.7
    ids = [b"%d" % i for i in range(n)]
    attacker = Attacker(model, ThreatModel(epsilon=0.15))
    return Subject(attacker=attacker, x=x, y=y, ids=ids, serve=attacker.predict)


def measured(subject: Subject, name: str) -> Measured:
    found = CHECKS[CheckName(name)](subject)
    assert found is not None
    return found


def off_by(images: int, n: int, name: str) -> Measured:
    """The check on n images with so many signs of a fake."""
    given = subject(n)
    flags = np.ones(n, bool)
    fewer = np.arange(n) >= images
    given.__dict__["right"] = flags
    if name == "iterated_beats_one_step":
        given.__dict__.update(fgsm=fewer, pgd=flags)
    elif name == "attack_has_converged":
        given.__dict__.update(pgd=flags, long_pgd=fewer)
    else:
        given.__dict__["right"] = fewer  # and all are right with noise
    return measured(given, name)


COUNTED = ["iterated_beats_one_step", "attack_has_converged", "noise_does_not_help"]


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize("n", [50, 100, 199])
def test_one_image_of_a_hundred_fails_no_check_and_two_do(name: str, n: int) -> None:
    assert off_by(0, n, name).passed is True
    assert off_by(1, n, name).passed is True
    assert off_by(2, n, name).passed is False


@pytest.mark.parametrize("name", COUNTED)
def test_on_the_whole_sample_the_tolerance_is_its_share(name: str) -> None:
    most = 1 if name == "iterated_beats_one_step" else 2
    assert off_by(most, SAMPLE, name).passed is True
    assert off_by(most + 1, SAMPLE, name).passed is False


@pytest.mark.parametrize("name", COUNTED)
def test_too_few_images_cannot_tell_and_show_what_they_can(name: str) -> None:
    found = off_by(1, 20, name)
    assert found.passed is None
    assert "20 images are too few to tell: a sign in 10." in found.sentence
    assert "would escape with a probability of" in found.sentence
    assert "At least 4" in found.sentence
    assert off_by(8, 20, name).passed is False, "a sign that is there counts"


@pytest.mark.parametrize("tolerance", [0.0, TOLERANCE, CONVERGED, ZERO_GRADIENTS])
def test_the_probability_that_a_fake_escapes_is_the_binomial_one(tolerance: float) -> None:
    draws = np.random.default_rng(0).binomial(45, tolerance + FAKE, 200_000)
    escaped = float(np.mean(draws <= allowed(45, tolerance)))
    assert escapes(45, tolerance) == pytest.approx(escaped, abs=0.004)
    assert all(escapes(n, tolerance) <= 0.05 for n in range(45, SAMPLE + 1))
    assert enough(20, tolerance) in range(25, 46)


def test_small_samples_of_a_sound_model_say_which_checks_could_not_tell() -> None:
    verdicts = {check.name: check.passed for check in run_checks(subject(12))}
    sure = {CheckName.SAME_SEED_SAME_RESULT}
    assert {name for name, passed in verdicts.items() if passed} == sure
    assert not [name for name, passed in verdicts.items() if passed is False]
    assert all(check.passed for check in run_checks(subject(66)))
    few = measured(subject(60), "large_epsilon_breaks_everything")
    assert (few.passed, "40 images are too few to tell" in few.sentence) == (None, True)


def falls(n: int, model: Callable[..., tf.Tensor], epsilon: float) -> Measured:
    attacker = Attacker(model, ThreatModel(epsilon=epsilon))
    return measured(replace(subject(n), attacker=attacker), "accuracy_falls_with_epsilon")


@pytest.mark.parametrize("n", [100, SAMPLE])
def test_accuracy_that_stays_in_a_small_ball_and_falls_in_a_large_one_is_no_fake(n: int) -> None:
    found = falls(n, brightest, 0.01)
    assert found.passed
    assert "It does not yet; at 0.5 it is 0.0%." in found.sentence


def test_accuracy_that_stays_on_few_images_is_no_fake_yet() -> None:
    def constant(x: tf.Tensor, training: bool) -> tf.Tensor:
        return 0.0 * brightest(x, training) + tf.one_hot(0, CLASSES)

    assert falls(SAMPLE, constant, 0.01).passed is False
    few = falls(100, constant, 0.01)
    assert few.passed is None
    assert "On 100 images it may stay by chance; 500 can tell." in few.sentence


@pytest.mark.parametrize(("rest", "passed"), [(60, False), (12, False), (1, None), (0, None)])
def test_most_images_of_one_class_hide_no_fake(rest: int, passed: bool | None) -> None:
    """Of 500 images 440 or more are of class 0. A model on which no attack works is right on all:
    that is found by the other images, and without these nobody can tell."""
    y = np.r_[np.zeros(500 - rest, np.int64), np.arange(rest) % (CLASSES - 1) + 1]
    attackless = replace(subject(500), y=y)
    attackless.__dict__["right"] = np.ones(500, bool)
    object.__setattr__(attackless, "survives", lambda attack, epsilon=None: attackless.right)
    found = measured(attackless, "large_epsilon_breaks_everything")
    assert found.passed is passed, found.sentence
    assert f"of the {rest} images of all classes except" in found.sentence


def not_a_number(x: tf.Tensor, training: bool = False) -> tf.Tensor:
    return brightest(x) * np.nan


def wrong(x: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Logits in another order of classes: never right."""
    return tf.roll(brightest(x), 1, axis=1)


def infinite(x: tf.Tensor, training: bool = False) -> tf.Tensor:
    return brightest(x) / 0.0


@pytest.mark.parametrize("model", [not_a_number, infinite], ids=lambda model: model.__name__)
def test_nothing_passes_on_logits_that_are_no_numbers(model: Callable[..., tf.Tensor]) -> None:
    checks = list(run_checks(subject(60, model)))
    assert [check.name for check in checks if check.passed] == []
    assert any("It could not look" in check.sentence for check in checks)
    refused = pytest.fail
    assert json.loads(dumps(checks), parse_constant=refused)


def test_a_model_that_is_never_right_gives_attacks_nothing_to_look_at() -> None:
    passed = {check.name for check in run_checks(subject(60, wrong)) if check.passed}
    assert passed == {
        CheckName.LOGITS_ARE_FINITE,
        CheckName.GRADIENTS_ARE_NOT_ZERO,
        CheckName.SAME_SEED_SAME_RESULT,
        CheckName.SERVED_MODEL_IS_THE_EVALUATED_ONE,
    }
    (found,) = [
        check
        for check in run_checks(subject(60, wrong))
        if check.name is CheckName.BLACK_BOX_FINDS_NO_MORE
    ]
    assert "without an attack the model is right on 0 of 60 images" in found.sentence


def other_if_alone(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    return (classes + 1) % CLASSES if len(x) == 1 else classes


def by_the_batch(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """As a normalisation over the batch would: right on all, wrong on a few."""
    return classes if x.std() > 0.15 and len(x) > 5 else np.zeros_like(classes)


def by_the_place(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Answers that were kept from the first request, in its order."""
    return np.arange(len(x), dtype=np.int64) % CLASSES


def first_of_equals(x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Equal images share one answer, which then is missing at the end."""
    _, places = np.unique(x, axis=0, return_index=True)
    equal = len(x) == 3 and len(places) < 3
    return np.full_like(classes, classes[0]) if equal else classes


@pytest.mark.parametrize(
    "answer",
    [other_if_alone, by_the_batch, by_the_place, first_of_equals],
    ids=lambda answer: answer.__name__,
)
def test_a_signature_that_answers_otherwise_in_another_batch_is_flagged(
    answer: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    given = subject(60)
    classes = given.attacker.predict
    sick = replace(given, serve=lambda x: answer(x, classes(x)))
    assert measured(given, "served_model_is_the_evaluated_one").passed is True
    assert measured(sick, "served_model_is_the_evaluated_one").passed is False


def test_batches_are_whole_turned_few_doubled_and_single() -> None:
    places = [rows.tolist() for rows in batches(40).values()]
    assert places == [[*range(40)], [*range(39, -1, -1)], [0, 1, 2], [0, 0, 39], [0], [39]]
    assert [len(rows) for rows in batches(1).values()] == [1, 1, 1, 3, 1, 1]


def test_a_check_that_could_not_tell_is_null_in_json() -> None:
    check = Check(name=CheckName.PROOFS_HOLD, passed=None, value=None, sentence="Too few.")
    assert json.loads(dumps([check]))[0]["passed"] is None
