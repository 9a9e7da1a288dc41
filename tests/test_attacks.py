"""The attacks: properties that hold for any model, and the exact optimum on linear models."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from robustness.attacks import Attacker, image_seeds
from robustness.ball import image_norm, inside_ball, project, random_start
from robustness.config import AttackName, AttackParameters, Norm, ThreatModel
from robustness.errors import ConfigError

SHAPE = (6, 5, 1)
CLASSES = 3
THREATS = [
    ThreatModel(norm=Norm.LINF, epsilon=0.1),
    ThreatModel(norm=Norm.LINF, epsilon=0.3),
    ThreatModel(norm=Norm.L2, epsilon=0.7),
]
EVERY_THREAT = pytest.mark.parametrize("threat", THREATS, ids=lambda t: f"{t.norm}-{t.epsilon}")
EVERY_ATTACK = pytest.mark.parametrize("name", list(AttackName))


class LinearModel:
    """logits = x w + b; `calls` holds the `training` argument of each call."""

    def __init__(self, seed: int = 0, classes: int = CLASSES) -> None:
        self.w = np.random.default_rng(seed).normal(size=(int(np.prod(SHAPE)), classes)).astype(np.float32)
        self.trainings: list[bool] = []

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        self.trainings.append(training)
        return tf.reshape(x, [-1, self.w.shape[0]]) @ self.w


class CurvedModel(LinearModel):
    """A small network with a hidden layer, so that gradients change with the point."""

    def __init__(self) -> None:
        super().__init__(classes=16)
        self.out = np.random.default_rng(1).normal(size=(16, CLASSES)).astype(np.float32)

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.tanh(super().__call__(x, training)) @ self.out


def batch(n: int = 24, low: float = 0.0, high: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels that the curved model gets right, and seeds."""
    x = np.random.default_rng(7).uniform(low, high, size=(n, *SHAPE)).astype(np.float32)
    y = np.argmax(CurvedModel()(x, training=False).numpy(), axis=1)
    return x, y, image_seeds([b"%d" % i for i in range(n)], seed=3)


def cross_entropy(model: LinearModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Loss by image, in NumPy."""
    logits = model(x, training=False).numpy().astype(np.float64)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]


@EVERY_THREAT
@EVERY_ATTACK
def test_attacked_images_stay_in_the_ball_and_in_range(name: AttackName, threat: ThreatModel) -> None:
    x, y, seeds = batch()
    x[0], x[1] = 0.0, 1.0  # corners, where clipping matters
    x_adv = Attacker(CurvedModel(), threat).run(name, x, y, seeds, AttackParameters())
    flat = np.abs(x_adv - x).reshape(len(x), -1)
    size = flat.max(axis=1) if threat.norm is Norm.LINF else np.sqrt((flat**2).sum(axis=1))
    assert size.max() <= threat.epsilon + 1e-6
    assert size.max() >= 0.9 * threat.epsilon, "the attack does not use its budget"
    assert x_adv.min() >= 0.0
    assert x_adv.max() <= 1.0


@EVERY_ATTACK
def test_epsilon_zero_is_the_identity(name: AttackName) -> None:
    x, y, seeds = batch()
    x_adv = Attacker(CurvedModel(), ThreatModel(epsilon=0.0)).run(name, x, y, seeds, AttackParameters(step_size=0.01))
    np.testing.assert_array_equal(x_adv, x)


@EVERY_THREAT
def test_reaches_the_exact_optimum_of_a_binary_linear_model(threat: ThreatModel) -> None:
    """The best perturbation lowers the margin by epsilon times the dual norm of the weight difference."""
    x, _, seeds = batch(low=0.45, high=0.55)  # far from 0 and 1: the closed form knows no clipping
    model = LinearModel(classes=2)
    model.w -= model.w.mean(axis=0)  # grey images lie on the boundary, so a small epsilon breaks some
    y = np.argmax(model(x, training=False).numpy(), axis=1)
    difference = (model.w[:, 1] - model.w[:, 0]).astype(np.float64)
    dual = np.abs(difference).sum() if threat.norm is Norm.LINF else np.sqrt((difference**2).sum())
    margin = np.abs(x.reshape(len(x), -1) @ difference)
    threat = ThreatModel(norm=threat.norm, epsilon=float(np.median(margin) / dual))
    breakable = margin < threat.epsilon * dual
    attacker = Attacker(model, threat)
    # Projected gradient steps of a fixed length circle around the optimum of a round ball.
    pgd_tolerance = 1e-4 if threat.norm is Norm.LINF else 0.02 * threat.epsilon * dual
    pgd = attacker.pgd(x, y, seeds, AttackParameters(steps=40))
    for x_adv, tolerance in ((attacker.fgsm(x, y), 1e-4), (pgd, pgd_tolerance)):
        np.testing.assert_array_equal(attacker.predict(x_adv) != y, breakable)
        signed = (x_adv.reshape(len(x), -1) @ difference) * np.where(y == 1, 1, -1)
        np.testing.assert_allclose(signed[~breakable], (margin - threat.epsilon * dual)[~breakable], atol=tolerance)


def test_more_steps_and_restarts_never_help_the_model() -> None:
    x, y, seeds = batch(200)
    model = CurvedModel()
    attacker = Attacker(model, ThreatModel(epsilon=0.02))
    runs = [AttackParameters(steps=s, restarts=r, step_size=0.004) for s, r in ((1, 1), (5, 1), (20, 1), (20, 4))]
    images = [attacker.pgd(x, y, seeds, parameters) for parameters in runs]
    right = [(attacker.predict(image) == y) for image in images]
    for weaker, stronger in itertools.pairwise(right):
        assert not np.any(stronger & ~weaker), "an image that fewer steps broke survives more steps"
    losses = [cross_entropy(model, image, y) for image in images]
    survivors = right[-1]
    for weaker, stronger in itertools.pairwise(losses):
        assert np.all(stronger[survivors] >= weaker[survivors] - 1e-5), "the best iterate was not kept"


def test_pgd_breaks_at_least_what_fgsm_breaks_in_sum() -> None:
    x, y, seeds = batch(200)
    attacker = Attacker(CurvedModel(), ThreatModel(epsilon=0.03))
    fgsm = np.mean(attacker.predict(attacker.fgsm(x, y)) == y)
    pgd = np.mean(attacker.predict(attacker.pgd(x, y, seeds, AttackParameters())) == y)
    assert 0.0 < pgd <= fgsm < 1.0


@pytest.mark.parametrize("size", [1, 7, 24])
def test_results_do_not_depend_on_the_batch_size(size: int) -> None:
    x, y, seeds = batch()
    attacker = Attacker(CurvedModel(), ThreatModel(epsilon=0.02))
    parameters = AttackParameters(steps=7, restarts=2)
    whole = attacker.pgd(x, y, seeds, parameters)
    parts = [
        attacker.pgd(x[i : i + size], y[i : i + size], seeds[i : i + size], parameters) for i in range(0, len(x), size)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


def test_the_seed_decides() -> None:
    x, y, seeds = batch()
    attacker = Attacker(CurvedModel(), ThreatModel(epsilon=0.02))
    parameters = AttackParameters(steps=1, restarts=1, step_size=0.001)
    first, again = (attacker.pgd(x, y, seeds, parameters) for _ in range(2))
    other = attacker.pgd(x, y, image_seeds([b"%d" % i for i in range(len(x))], seed=4), parameters)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_restarts_start_at_different_points() -> None:
    x, _, seeds = batch()
    threat = ThreatModel(epsilon=0.1)
    first = random_start(tf.constant(x), tf.constant(seeds), threat).numpy()
    second = random_start(tf.constant(x), tf.constant(seeds + np.asarray([1_000_003, 0])), threat).numpy()
    assert np.abs(first - second).max() > 0.05


def test_models_are_called_in_inference_mode() -> None:
    x, y, seeds = batch()
    model = CurvedModel()
    Attacker(model, ThreatModel(epsilon=0.1)).pgd(x, y, seeds, AttackParameters(steps=2))
    assert model.trainings
    assert not any(model.trainings)


@EVERY_THREAT
def test_projection_is_the_nearest_point(threat: ThreatModel) -> None:
    x, *_ = batch()
    far = x + np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    near = project(far, x, threat).numpy()
    assert np.all(inside_ball(near, x, threat).numpy())
    np.testing.assert_allclose(project(near, x, threat).numpy(), near, atol=1e-6)
    if threat.norm is Norm.LINF:  # closed form of the nearest point of a box
        low, high = np.maximum(x - threat.epsilon, 0), np.minimum(x + threat.epsilon, 1)
        np.testing.assert_allclose(near, np.clip(far, low, high), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "inside"),
    [(0.0999, True), (0.1 + 5e-7, True), (0.1001, False), (float("nan"), False)],
    ids=["inside", "rounding", "outside", "nan"],
)
def test_ball_check(change: float, inside: bool) -> None:
    x = np.full((1, *SHAPE), 0.5, np.float32)
    x_adv = x.copy()
    x_adv[0, 2, 2, 0] += change
    assert bool(inside_ball(x_adv, x, ThreatModel(epsilon=0.1))[0]) is inside


def test_ball_check_sees_pixels_outside_the_range() -> None:
    x = np.full((2, *SHAPE), 0.99, np.float32)
    x_adv = x.copy()
    x_adv[1] = 1.01
    assert inside_ball(x_adv, x, ThreatModel(epsilon=0.1)).numpy().tolist() == [True, False]


def test_norms_match_numpy() -> None:
    delta = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    flat = delta.reshape(4, -1)
    np.testing.assert_allclose(image_norm(delta, Norm.LINF), np.abs(flat).max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(image_norm(delta, Norm.L2), np.linalg.norm(flat, axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThreatModel(epsilon=-0.1), "epsilon is a finite number >= 0, got -0.1"),
        (lambda: ThreatModel(epsilon=float("nan")), "epsilon is a finite number >= 0, got nan"),
        (lambda: AttackParameters(steps=0), "at least 1, got 0 and 2"),
        (lambda: AttackParameters(step_size=0.0), "step_size is a finite number > 0"),
    ],
)
def test_bad_parameters(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
