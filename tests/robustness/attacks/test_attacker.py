"""All attacks through the attacker: properties that hold for any model, and the exact optimum on
linear models. What only one attack has is in the file of its module."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from attacked import (
    APGD,
    BOTH_NORMS,
    LINF,
    LOSSES,
    PGD,
    SHAPE,
    CurvedModel,
    LinearModel,
    attacker,
    batch,
    sizes,
    small,
)

from foundation.errors import DataError
from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.ball import inside_ball
from robustness.config import AttackName, Fgsm, Norm, ThreatModel
from robustness.evaluation import Judge
from robustness.losses import margin, targeted_dlr
from robustness.types import FloatArray, IntArray

EVERY_ATTACK = pytest.mark.parametrize("name", AttackName)


@BOTH_NORMS
@EVERY_ATTACK
def test_attacked_images_stay_in_the_ball_and_in_range(
    name: AttackName, threat: ThreatModel
) -> None:
    x, y, seeds = batch()
    before = x.copy()
    x_adv = attacker(threat)[0].run(small(name), x, y, seeds)
    assert (x_adv.shape, x_adv.dtype) == (x.shape, np.float32)
    assert sizes(x_adv - x, threat.norm).max() <= threat.epsilon + 1e-6
    assert x_adv.min() >= 0.0
    assert x_adv.max() <= 1.0
    np.testing.assert_array_equal(x, before, err_msg="the attack writes into its input")
    if name is not AttackName.FAB_T:  # which looks for the nearest mistake
        assert sizes(x_adv - x, threat.norm).max() >= 0.95 * threat.epsilon, (
            "the attack does not use its budget"
        )


@pytest.mark.parametrize(
    ("norm", "name"),
    [
        *((Norm.LINF, name) for name in AttackName),
        *(
            (Norm.L2, name)
            for name in (AttackName.FGSM, AttackName.PGD, AttackName.APGD_CE, AttackName.FAB_T)
        ),
    ],
)
def test_epsilon_zero_is_the_identity(norm: Norm, name: AttackName) -> None:
    x, y, seeds = batch()
    zero = attacker(ThreatModel(norm=norm, epsilon=0.0))[0]
    np.testing.assert_array_equal(zero.run(small(name, step_size=0.01), x, y, seeds), x)


@BOTH_NORMS
@EVERY_ATTACK
def test_results_depend_neither_on_the_batch_nor_on_its_order(
    name: AttackName, threat: ThreatModel
) -> None:
    x, y, seeds = batch(14)
    attack, (attacks, model) = small(name), attacker(threat)
    whole = attacks.run(attack, x, y, seeds)
    np.testing.assert_array_equal(attacks.run(attack, x, y, seeds), whole, err_msg="the same seed")
    traces = len(model.trainings)
    mixed = np.random.default_rng(0).permutation(len(x))
    for size in (1, 5):
        parts = [mixed[i : i + size] for i in range(0, len(x), size)]
        found = np.concatenate(
            [attacks.run(attack, x[part], y[part], seeds[part]) for part in parts]
        )
        np.testing.assert_allclose(found, whole[mixed], atol=1e-6)
    assert len(model.trainings) == traces, "the model is traced again for another batch size"
    assert not any(model.trainings), "the model is called in training mode"


@BOTH_NORMS
@EVERY_ATTACK
def test_the_seed_decides_what_is_random(name: AttackName, threat: ThreatModel) -> None:
    x, y, seeds = batch()
    attack, run = small(name, steps=1, restarts=1), attacker(threat)[0].run
    first = run(attack, x, y, seeds)
    other = run(attack, x, y, image_seeds([b"%d" % i for i in range(len(x))], 4))
    same = np.all(first == other, axis=(1, 2, 3))
    if name in (AttackName.FGSM, AttackName.FAB_T):  # FAB's first restart begins at the clean image
        assert np.all(same)
    elif (
        name in (*PGD, *APGD) and threat.norm is Norm.LINF
    ):  # a full step may end in the same corner
        assert not np.all(same)
    else:
        assert not np.any(same[2:])


@EVERY_ATTACK
def test_no_images_give_no_images(name: AttackName) -> None:
    x, y, seeds = batch()
    attacks, model = attacker(LINF)
    model.asked.clear()
    x_adv = attacks.run(small(name), x[:0], y[:0], seeds[:0])
    assert (x_adv.shape, x_adv.dtype) == ((0, *SHAPE), np.float32)
    assert not model.asked


@BOTH_NORMS
@pytest.mark.parametrize(
    "name", [name for name in AttackName if name not in (AttackName.FGSM, AttackName.SQUARE)]
)
def test_the_best_point_that_was_tried_is_returned(name: AttackName, threat: ThreatModel) -> None:
    """Image by image: the first misclassified point of the ball; else the point with the highest
    loss, of FAB the clean image. Square has a test of its own."""
    x, y, seeds = batch(16)
    attacks, model = attacker(threat)
    attack, fallen = small(name, restarts=1, targets=1), []
    for one in (slice(i, i + 1) for i in range(len(x))):
        model.asked.clear()
        x_adv = attacks.run(attack, x[one], y[one], seeds[one])
        tried = np.concatenate(model.asked)
        logits = CurvedModel()(tried, training=False).numpy()
        original = np.repeat(x[one], len(tried), axis=0)
        inside = inside_ball(tf.constant(tried), tf.constant(original), threat).numpy()
        wrong = (np.argmax(logits, axis=1) != y[one]) & inside
        fallen.append(np.any(wrong))
        if name is AttackName.FAB_T:
            assert attacks.predict(x_adv) != y[one] if fallen[-1] else np.array_equal(x_adv, x[one])
            continue
        if name is AttackName.APGD_T:
            # The first is the clean image, to choose the target.
            tried, logits, wrong = tried[1:], logits[1:], wrong[1:]
            target = np.argsort(CurvedModel()(x[one], training=False).numpy())[:, -2]
            classes = (np.repeat(each, len(tried)) for each in (y[one], target))
            loss = targeted_dlr(*map(tf.constant, (logits, *classes))).numpy()
        else:
            labels = np.repeat(y[one], len(tried))
            loss = LOSSES[name](tf.constant(logits), tf.constant(labels)).numpy()
        np.testing.assert_allclose(
            x_adv[0], tried[np.argmax(wrong) if fallen[-1] else np.argmax(loss)], atol=1e-6
        )
        assert len(tried) == attack.steps + 1 or fallen[-1], "the start, and one point a step"
    assert 0 < np.sum(fallen) < len(x)


@BOTH_NORMS
@pytest.mark.parametrize("name", [*PGD, AttackName.FAB_T])
def test_more_steps_never_help_the_model(name: AttackName, threat: ThreatModel) -> None:
    """With steps of one length; those of Auto-PGD, and the windows of Square, depend on the number
    of steps."""
    x, y, seeds = batch(200)
    attacks, _ = attacker(threat)
    efforts = [small(name, steps, 1, step_size=threat.epsilon / 5) for steps in (1, 4, 20)]
    images = [attacks.run(effort, x, y, seeds) for effort in efforts]
    right = [attacks.predict(image) == y for image in images]
    for weaker, stronger in itertools.pairwise(right):
        assert not np.any(stronger & ~weaker), "an image that fewer steps broke survives more steps"
    assert np.sum(right[-1]) < np.sum(right[0])
    if name in PGD:
        logits = [tf.constant(attacks.logits(image)) for image in images]
        losses = [LOSSES[name](each, tf.constant(y)).numpy()[right[-1]] for each in logits]
        for weaker, stronger in itertools.pairwise(losses):
            assert np.all(stronger >= weaker - 1e-5), "the best iterate was not kept"


@BOTH_NORMS
@pytest.mark.parametrize("name", [*PGD, *APGD, AttackName.FAB_T])
def test_more_restarts_never_help_the_model(name: AttackName, threat: ThreatModel) -> None:
    x, y, seeds = batch(200)
    attacks, model = attacker(threat)
    right, asked = [], []
    for restarts in (1, 4):
        model.asked.clear()
        x_adv = attacks.run(small(name, 2, restarts, targets=1), x, y, seeds)
        asked.append(sum(map(len, model.asked)))
        right.append(attacks.predict(x_adv) == y)
    assert not np.any(right[1] & ~right[0]), "an image that one restart broke survives four"
    points = (
        5 if name is AttackName.FAB_T else 3
    )  # of an image and restart; FAB judges twice a step and at the end
    assert asked[1] > 3 * asked[0], "restarts were not made"
    assert asked[1] <= asked[0] + 3 * points * np.sum(right[0]), (
        "images that are broken are attacked again"
    )
    assert np.any(right[1])


@pytest.mark.parametrize("name", [AttackName.APGD_T, AttackName.FAB_T])
def test_targets_are_the_likeliest_classes_one_after_the_other(name: AttackName) -> None:
    """The likeliest wrong class cannot be reached, the least likely one can."""

    def model(x: tf.Tensor, training: bool) -> tf.Tensor:
        mean = tf.reduce_mean(x, axis=[1, 2, 3])
        return tf.stack([0 * mean, 0.01 * mean - 0.5, 0.02 * mean - 0.7, 100 * mean - 51.0], axis=1)

    x, y, seeds = (
        np.full((4, *SHAPE), 0.5, np.float32),
        np.zeros(4, np.int64),
        image_seeds([b"a", b"b", b"c", b"d"], 0),
    )
    attacks = Attacker(model, LINF)
    broken = [
        np.mean(attacks.predict(attacks.run(small(name, 20, 1, targets=n), x, y, seeds)) != y)
        for n in (1, 2, 3)
    ]
    assert broken == [0.0, 0.0, 1.0]


def linear_problem(classes: int, norm: Norm) -> tuple[Attacker, FloatArray, IntArray, FloatArray]:
    """A linear model whose best attack is known in closed form: the attacker, images, labels, and
    of each image the distance to the nearest wrong class over epsilon; half are below 1.

    The best perturbation lowers a margin by epsilon times the dual norm of the difference of
    weights.
    """
    model = LinearModel(classes)
    model.w -= model.w.mean(
        axis=0
    )  # grey images lie on the boundary, so a small epsilon breaks some
    x = np.random.default_rng(7).uniform(0.4, 0.6, size=(40, *SHAPE)).astype(np.float32)
    logits = x.reshape(len(x), -1) @ model.w.astype(np.float64)
    y = np.argmax(logits, axis=1)
    difference = model.w.astype(np.float64)[:, y].T[:, :, None] - model.w[None]
    dual = (
        np.abs(difference).sum(axis=1)
        if norm is Norm.LINF
        else np.sqrt((difference**2).sum(axis=1))
    )
    margins = logits[np.arange(len(x)), y][:, None] - logits
    distances = np.where(dual > 0, margins / np.maximum(dual, 1e-9), np.inf).min(axis=1)
    threat = ThreatModel(norm=norm, epsilon=float(np.median(distances)))
    assert threat.epsilon < 0.4, "the closed form knows no clipping"
    return Attacker(model, threat), x, y, distances / threat.epsilon


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize(
    ("classes", "name"),
    [
        *((2, name) for name in (AttackName.FGSM, AttackName.PGD, *APGD, AttackName.FAB_T)),
        *(
            (3, name) for name in (AttackName.APGD_T, AttackName.FAB_T)
        ),  # the others may stop at the farther class
    ],
)
def test_reaches_the_exact_optimum_of_a_linear_model(
    classes: int, name: AttackName, norm: Norm
) -> None:
    attacks, x, y, distance = linear_problem(classes, norm)
    x_adv = attacks.run(
        small(name, steps=40, restarts=1), x, y, image_seeds([b"%d" % i for i in range(len(x))], 0)
    )
    broken = attacks.predict(x_adv) != y
    clear = np.abs(distance - 1) > 0.01
    assert np.sum(clear) >= 35
    np.testing.assert_array_equal(broken[clear], (distance < 1)[clear])
    if classes == 2 and name is not AttackName.FAB_T:
        logits = [tf.constant(attacks.logits(images)) for images in (x, x_adv)]
        before, after = (margin(each, tf.constant(y)).numpy() for each in logits)
        gain, best = after - before, before / -distance  # epsilon times the dual norm
        # Steps of a fixed length circle around the optimum of a round ball.
        tolerance = 0.02 if name is AttackName.PGD and norm is Norm.L2 else 1e-4
        np.testing.assert_allclose(gain[~broken], best[~broken], rtol=tolerance)


def test_a_model_without_gradients_is_attacked_without_an_error() -> None:
    x, y, seeds = batch()
    inner, threat = CurvedModel(), LINF
    attacks = Attacker(lambda x, training: inner(tf.round(x * 255) / 255, training), threat)
    for name in (AttackName.FGSM, AttackName.PGD, AttackName.APGD_CE, AttackName.FAB_T):
        x_adv = attacks.run(small(name), x, y, seeds)
        assert np.all(inside_ball(tf.constant(x_adv), tf.constant(x), threat)), name


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_logits_that_are_not_finite_are_no_prediction(value: float) -> None:
    x = np.zeros((3, *SHAPE), np.float32)
    logits = np.asarray([[0.0, 2.0, 1.0], [0.0, value, 1.0], [value, 0.0, 1.0]], np.float32)
    attacks = Attacker(lambda x, training: tf.constant(logits), LINF)
    np.testing.assert_array_equal(attacks.predict(x), [1, -1, -1])
    np.testing.assert_array_equal(attacks.logits(x), logits)


BYTES = np.full((2, *SHAPE), 255, np.float32)
IMAGES = np.full((2, *SHAPE), 0.5, np.float32)
LABELS, SEEDS = np.zeros(2, np.int64), np.zeros((2, 2), np.int64)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": BYTES}, r"expected pixels in \[0, 1\], got 255 to 255; divide bytes by 255"),
        ({"x": -IMAGES}, r"expected pixels in \[0, 1\], got -0.5 to -0.5"),
        ({"x": np.nan * IMAGES}, r"expected pixels in \[0, 1\], got nan to nan"),
        (
            {"x": IMAGES.astype(np.float64)},
            r"expected images float32 \[n, h, w, c\], got float64 \[2, 6, 5, 1\]",
        ),
        ({"x": IMAGES[..., 0]}, r"expected images float32 \[n, h, w, c\], got float32 \[2, 6, 5\]"),
        ({"y": LABELS.astype(np.int32)}, r"expected labels int64 \[2\], got int32 \[2\]"),
        ({"y": LABELS[:1]}, r"expected labels int64 \[2\], got int64 \[1\]"),
        ({"y": LABELS + 3}, "expected labels from 0 to below the 3 classes, got 3 to 3"),
        ({"y": LABELS - 1}, "expected labels from 0 to below the 3 classes, got -1 to -1"),
        ({"seeds": SEEDS[:, 0]}, r"expected seeds int64 \[2, 2\], .* got int64 \[2\]"),
        ({"seeds": SEEDS[:1]}, r"expected seeds int64 \[2, 2\], .* got int64 \[1, 2\]"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[9:30],
)
def test_what_an_attack_cannot_start_from_is_refused(change: dict[str, Any], message: str) -> None:
    """By a transfer too, and before a judge asks the model."""
    question = {"x": IMAGES, "y": LABELS, "seeds": SEEDS} | change
    attacks, model = attacker(LINF)
    model.asked.clear()
    for run in (partial(attacks.run, Fgsm()), attacks.transferable):
        with pytest.raises(DataError, match=message):
            run(**question)
    if "seeds" not in change:
        with pytest.raises(DataError, match=message):
            Judge(model, LINF, (), SHAPE).judge(question["x"], question["y"], [b"a", b"b"], 0)
    assert not model.asked


def test_labels_are_checked_as_far_as_the_classes_are_known() -> None:
    def model(x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.numpy_function(lambda x: np.ones((len(x), 3), np.float32), [x], tf.float32)

    attacks = Attacker(model, LINF)
    attacks.check(IMAGES, LABELS + 3)
    with pytest.raises(DataError, match="below the number of classes, got -1 to -1"):
        attacks.check(IMAGES, LABELS - 1)
