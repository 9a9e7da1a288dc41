"""The attacks: properties that hold for any model, their published algorithms by hand, and the
exact optimum on linear models. What only FAB or Square has is in `test_fab.py` and
`test_square.py`.

One file for all of them, because their tests share the attacks that were compiled.
"""

import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow as tf

from foundation.errors import ConfigError
from foundation.seeds import image_seeds
from robustness.attacks.apgd import Apgd, State, schedule
from robustness.attacks.attacker import Attacker, describe
from robustness.ball import inside_ball, random_start
from robustness.config import Attack, AttackName, Norm, ThreatModel
from robustness.losses import cross_entropy, dlr, margin, targeted_dlr
from robustness.types import FloatArray, IntArray

SHAPE = (6, 5, 1)
CLASSES = 3
PIXELS = int(np.prod(SHAPE))
LINF, L2 = ThreatModel(norm=Norm.LINF, epsilon=0.04), ThreatModel(norm=Norm.L2, epsilon=0.2)
"""Radii that break some images and leave others."""

PGD = (AttackName.PGD, AttackName.PGD_MARGIN, AttackName.PGD_DLR)
APGD = (AttackName.APGD_CE, AttackName.APGD_T)
LOSSES = {
    AttackName.FGSM: cross_entropy,
    AttackName.PGD: cross_entropy,
    AttackName.PGD_MARGIN: margin,
    AttackName.PGD_DLR: dlr,
    AttackName.APGD_CE: cross_entropy,
}

EVERY_ATTACK = pytest.mark.parametrize("name", AttackName)
BOTH_NORMS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: str(threat.norm))


class LinearModel:
    """logits = x w; `trainings` has the `training` argument of each trace, `asked` each batch it
    was called with."""

    def __init__(self, classes: int = CLASSES) -> None:
        self.w = np.random.default_rng(0).normal(size=(PIXELS, classes)).astype(np.float32)
        self.trainings: list[bool] = []
        self.asked: list[FloatArray] = []

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        self.trainings.append(training)
        tf.numpy_function(lambda images: self.asked.append(images.copy()), [x], [])
        return tf.reshape(x, [-1, PIXELS]) @ self.w


class CurvedModel(LinearModel):
    """A small network with a hidden layer, so that gradients change with the point."""

    def __init__(self) -> None:
        super().__init__(classes=16)
        self.out = np.random.default_rng(1).normal(size=(16, CLASSES)).astype(np.float32)

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.tanh(super().__call__(x, training)) @ self.out


@functools.cache
def attacker(threat: ThreatModel) -> tuple[Attacker, CurvedModel]:
    """One for all tests, because each attack is compiled when it is first used."""
    model = CurvedModel()
    return Attacker(model, threat), model


def small(name: AttackName, steps: int = 7, restarts: int = 2, **effort: float) -> Attack:
    """More steps than are made between two compactions, in two restarts."""
    return Attack(name=name, steps=steps, restarts=restarts, **effort)


def batch(n: int = 24) -> tuple[FloatArray, IntArray, IntArray]:
    """Images, the first two black and white, labels that the curved model gets right, and seeds."""
    x = np.random.default_rng(7).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0  # corners, where clipping matters
    return (
        x,
        np.argmax(CurvedModel()(x, training=False), axis=1),
        image_seeds([b"%d" % i for i in range(n)], 3),
    )


def sizes(delta: FloatArray, norm: Norm) -> FloatArray:
    flat = np.abs(delta).reshape(len(delta), -1).astype(np.float64)
    return np.asarray(flat.max(axis=1) if norm is Norm.LINF else np.sqrt((flat**2).sum(axis=1)))


def nearest(point: FloatArray, x: FloatArray, threat: ThreatModel) -> FloatArray:
    """Projection in NumPy: L-infinity in closed form; L2 onto [0, 1], then onto the ball."""
    if threat.norm is Norm.LINF:
        return np.clip(point, np.maximum(x - threat.epsilon, 0), np.minimum(x + threat.epsilon, 1))
    delta = np.clip(point, 0, 1) - x
    shrink = np.minimum(1.0, threat.epsilon / np.maximum(sizes(delta, threat.norm), 1e-12))
    return np.clip(x + delta * shrink[:, None, None, None], 0, 1)


def ascent(gradient: FloatArray, norm: Norm) -> FloatArray:
    """Step of norm 1 that climbs fastest, in NumPy."""
    if norm is Norm.LINF:
        return np.sign(gradient)
    return gradient / sizes(gradient, norm)[:, None, None, None]


@functools.cache
def differentiated(loss: Callable[..., tf.Tensor]) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Images and labels to the curved model's loss and its gradient."""
    model = CurvedModel()

    @tf.function(
        input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32), tf.TensorSpec([None], tf.int64)]
    )
    def loss_and_gradient(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(model(x, training=False), y)
        return value, tape.gradient(value, x)

    return loss_and_gradient


def loss_and_gradient(
    loss: Callable[..., tf.Tensor], x: FloatArray, y: IntArray
) -> tuple[FloatArray, FloatArray]:
    value, gradient = differentiated(loss)(x, y)
    return value.numpy(), gradient.numpy()


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
        wrong = (np.argmax(logits, axis=1) != y[one]) & inside_ball(tried, x[one], threat).numpy()
        fallen.append(np.any(wrong))
        if name is AttackName.FAB_T:
            assert attacks.predict(x_adv) != y[one] if fallen[-1] else np.array_equal(x_adv, x[one])
            continue
        if name is AttackName.APGD_T:
            tried, logits, wrong = (
                tried[1:],
                logits[1:],
                wrong[1:],
            )  # the clean image, to choose the target
            target = np.argsort(CurvedModel()(x[one], training=False).numpy())[:, -2]
            loss = targeted_dlr(
                logits, np.repeat(y[one], len(tried)), np.repeat(target, len(tried))
            ).numpy()
        else:
            loss = LOSSES[name](logits, np.repeat(y[one], len(tried))).numpy()
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
        losses = [LOSSES[name](attacks.logits(image), y).numpy()[right[-1]] for image in images]
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


@BOTH_NORMS
def test_fgsm_is_one_full_step_along_the_gradient(threat: ThreatModel) -> None:
    x, y, seeds = batch()
    _, gradient = loss_and_gradient(cross_entropy, x, y)
    expected = nearest(x + threat.epsilon * ascent(gradient, threat.norm), x, threat)
    x_adv = attacker(threat)[0].run(Attack(name=AttackName.FGSM, steps=5), x, y, seeds)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)


def survivors(attack: Attack, threat: ThreatModel) -> tuple[FloatArray, IntArray, IntArray]:
    """Images that the attack does not break, so that all their points can be followed."""
    x, y, seeds = batch()
    kept = attacker(threat)[0].predict(attacker(threat)[0].run(attack, x, y, seeds)) == y
    assert np.sum(kept) >= 5
    return x[kept], y[kept], seeds[kept]


@BOTH_NORMS
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", PGD)
def test_pgd_goes_where_its_papers_say(
    name: AttackName, momentum: float, threat: ThreatModel
) -> None:
    """Madry et al. 2018; with momentum Dong et al. 2018, algorithm 1."""
    attack = small(name, steps=12, restarts=1, momentum=momentum)
    x, y, seeds = survivors(attack, threat)
    attacks, model = attacker(threat)
    points, accumulated = (
        [random_start(tf.constant(x), tf.constant(seeds), threat).numpy()],
        np.zeros_like(x),
    )
    for _ in range(attack.steps):
        _, gradient = loss_and_gradient(LOSSES[name], points[-1], y)
        accumulated = momentum * accumulated + gradient / np.abs(gradient).sum(
            axis=(1, 2, 3), keepdims=True
        )
        step = 2.5 * threat.epsilon / attack.steps * ascent(accumulated, threat.norm)
        points.append(nearest(points[-1] + step, x, threat).astype(np.float32))
    model.asked.clear()
    attacks.run(attack, x, y, seeds)
    np.testing.assert_allclose(np.stack(model.asked), np.stack(points), atol=1e-5)


def published_checkpoints() -> list[int]:
    """Iterations of 100 after which the step is checked: p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03,
    0.06), as whole per cents."""
    checkpoints = [0, 22]
    while (following := checkpoints[-1] + max(checkpoints[-1] - checkpoints[-2] - 3, 6)) <= 100:
        checkpoints.append(following)
    return checkpoints[1:]


def test_auto_pgd_checks_its_step_where_the_paper_does() -> None:
    segments = list(schedule(100))
    ends = list(itertools.accumulate(segment.iterations for segment in segments))
    assert published_checkpoints() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [
        end for end, segment in zip(ends, segments, strict=True) if segment.check
    ] == published_checkpoints()
    windows = [segment.window for segment in segments if segment.check]
    assert windows == np.diff([0, *published_checkpoints()]).tolist()
    assert ends[-1] == 100


@pytest.mark.parametrize("steps", [1, 2, 5, 16, 50, 333])
def test_auto_pgd_makes_every_step(steps: int) -> None:
    assert sum(segment.iterations for segment in schedule(steps)) == steps


def auto_pgd_by_hand(
    x: FloatArray, y: IntArray, start: FloatArray, threat: ThreatModel
) -> Iterator[FloatArray]:
    """The points of one image, [1, h, w, c] each: Croce & Hein 2020, algorithm 1, with 100
    iterations."""
    (loss,), gradient = loss_and_gradient(cross_entropy, start, y)
    yield start
    previous = point = best = start
    best_loss, best_gradient = loss, gradient
    checked_loss, halved, rises, last_check, step = loss, True, 0, 0, 2 * threat.epsilon
    for k in range(100):
        ahead = nearest(point + step * ascent(gradient, threat.norm), x, threat)
        if k > 0:
            ahead = nearest(point + 0.75 * (ahead - point) + 0.25 * (point - previous), x, threat)
        previous, point, previous_loss = point, ahead.astype(np.float32), loss
        (loss,), gradient = loss_and_gradient(cross_entropy, point, y)
        yield point
        rises += loss > previous_loss
        if loss > best_loss:
            best, best_loss, best_gradient = point, loss, gradient
        if k + 1 in published_checkpoints():
            stands = not halved and checked_loss >= best_loss
            halved = bool(rises <= 0.75 * (k + 1 - last_check)) or stands
            if halved:
                step, point, gradient = step / 2, best, best_gradient
            checked_loss, rises, last_check = best_loss, 0, k + 1


@BOTH_NORMS
def test_auto_pgd_goes_where_its_paper_says(threat: ThreatModel) -> None:
    attack = small(AttackName.APGD_CE, steps=100, restarts=1)
    x, y, seeds = (array[:6] for array in survivors(attack, threat))
    attacks, model = attacker(threat)
    start = random_start(tf.constant(x), tf.constant(seeds), threat, on_surface=True).numpy()
    model.asked.clear()
    attacks.run(attack, x, y, seeds)
    for i, found in enumerate(np.stack(model.asked, axis=1)):
        one = slice(i, i + 1)
        expected = np.concatenate(list(auto_pgd_by_hand(x[one], y[one], start[one], threat)))
        np.testing.assert_allclose(found[:81], expected[:81], atol=1e-4)
        # The last steps change the loss by less than float32 resolves, so what counts as a rise,
        # and with it when the step is halved, is chance and depends on the processor.
        np.testing.assert_allclose(found[81:], expected[81:], atol=0.1 * threat.epsilon)
        assert np.mean(np.abs(found[81:] - expected[81:]) <= 0.02 * threat.epsilon) > 0.99


def test_auto_pgd_halves_its_step_where_the_ascent_stalls_or_stands() -> None:
    """The paper's two conditions, after a window of four moves; halving goes back to the best
    point."""
    cases = {  # rises, loss at the last check, halved there, whether to halve
        "too few rises": (3, 0.0, False, True),
        "rises, but none above the best": (4, 1.0, False, True),
        "the same after halving": (4, 1.0, True, False),
        "rises above the best": (4, 0.9, False, False),
    }
    rises, checked, halved, expected = (
        np.asarray(column) for column in zip(*cases.values(), strict=True)
    )
    images, flags = np.zeros((4, *SHAPE), np.float32), np.zeros(4, bool)
    state = State(
        iterate=images, previous=images, gradient=images, loss=np.zeros(4, np.float32), best=images + 1,
        best_gradient=images + 2, best_loss=np.ones(4, np.float32), wrong=flags, step=np.ones(4, np.float32),
        rises=rises.astype(np.float32), checked_loss=checked.astype(np.float32), halved=halved, first=flags,
    )  # fmt: skip
    found = Apgd(CurvedModel(), LINF, targeted_dlr)._checked(state, 4)
    np.testing.assert_array_equal(found.halved, expected)
    np.testing.assert_array_equal(found.step, np.where(expected, 0.5, 1.0))
    np.testing.assert_array_equal(found.iterate[:, 0, 0, 0], expected)
    np.testing.assert_array_equal(found.gradient[:, 0, 0, 0], 2 * expected)
    np.testing.assert_array_equal(found.checked_loss, 1.0)
    np.testing.assert_array_equal(found.rises, 0.0)


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
        gain = margin(attacks.logits(x_adv), y).numpy() - margin(attacks.logits(x), y).numpy()
        best = margin(attacks.logits(x), y).numpy() / -distance  # epsilon times the dual norm
        # Steps of a fixed length circle around the optimum of a round ball.
        tolerance = 0.02 if name is AttackName.PGD and norm is Norm.L2 else 1e-4
        np.testing.assert_allclose(gain[~broken], best[~broken], rtol=tolerance)


def test_pgd_breaks_at_least_what_fgsm_breaks_in_sum() -> None:
    x, y, seeds = batch(200)
    attacks, _ = attacker(LINF)
    one_step, iterated = (
        np.mean(attacks.predict(attacks.run(small(name, steps=20), x, y, seeds)) == y)
        for name in (AttackName.FGSM, AttackName.PGD)
    )
    assert 0.0 < iterated <= one_step < 1.0


def test_a_model_without_gradients_is_attacked_without_an_error() -> None:
    x, y, seeds = batch()
    inner, threat = CurvedModel(), LINF
    attacks = Attacker(lambda x, training: inner(tf.round(x * 255) / 255, training), threat)
    for name in (AttackName.FGSM, AttackName.PGD, AttackName.APGD_CE, AttackName.FAB_T):
        assert np.all(inside_ball(attacks.run(small(name), x, y, seeds), x, threat)), name


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_logits_that_are_not_finite_are_no_prediction(value: float) -> None:
    x = np.zeros((3, *SHAPE), np.float32)
    logits = np.asarray([[0.0, 2.0, 1.0], [0.0, value, 1.0], [value, 0.0, 1.0]], np.float32)
    attacks = Attacker(lambda x, training: tf.constant(logits), LINF)
    np.testing.assert_array_equal(attacks.predict(x), [1, -1, -1])
    np.testing.assert_array_equal(attacks.logits(x), logits)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThreatModel(epsilon=-0.1), "epsilon is a finite number >= 0, got -0.1"),
        (lambda: ThreatModel(epsilon=float("nan")), "epsilon is a finite number >= 0, got nan"),
        (
            lambda: small(AttackName.PGD, steps=0),
            "pgd: steps, restarts and targets are at least 1, got 0, 2 and 9",
        ),
        (lambda: small(AttackName.SQUARE, restarts=0), "square: .* at least 1, got 7, 0 and 9"),
        (lambda: small(AttackName.FAB_T, targets=0), "fab-t: .* at least 1, got 7, 2 and 0"),
        (
            lambda: small(AttackName.PGD, step_size=0.0),
            "pgd: step_size is a finite number > 0 or left out, got 0.0",
        ),
        (lambda: small(AttackName.PGD, step_size=float("nan")), "step_size is a finite number > 0"),
        (
            lambda: small(AttackName.PGD, momentum=-0.1),
            "pgd: momentum is a finite number >= 0, got -0.1",
        ),
        (
            lambda: small(AttackName.PGD, momentum=float("inf")),
            "momentum is a finite number >= 0, got inf",
        ),
    ],
)
def test_bad_parameters(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (Attack(name=AttackName.FGSM), (1, 1, 0.2)),
        (
            Attack(name=AttackName.PGD, steps=20, restarts=2),
            (20, 2, 0.025),
        ),  # 2.5 * epsilon / steps
        (Attack(name=AttackName.PGD_DLR, steps=20, step_size=0.1), (20, 1, 0.1)),
        (Attack(name=AttackName.APGD_T, steps=50), (50, 1, 0.0)),
        (Attack(name=AttackName.SQUARE, steps=200), (200, 1, 0.0)),
    ],
    ids=lambda value: str(value.name) if isinstance(value, Attack) else "",
)
def test_the_effort_is_described(attack: Attack, expected: tuple[int, int, float]) -> None:
    names = ("steps", "restarts", "step_size")
    assert describe(attack, ThreatModel(epsilon=0.2)) == pytest.approx(
        dict(zip(names, expected, strict=True))
    )
