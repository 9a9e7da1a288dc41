"""What only FAB has: its projection onto a hyperplane inside [0, 1], against general solvers; its
steps, against a plain NumPy version; its targets and restarts. What all attacks have in common is
in `test_attacker.py`.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from scipy.optimize import linprog, minimize

from foundation.seeds import image_seeds
from robustness.attacks.fab import CompiledFab, to_hyperplane
from robustness.config import FabT, Norm, ThreatModel
from robustness.types import BoolArray, FloatArray, IntArray

SHAPE = (4, 3, 1)
PIXELS = int(np.prod(SHAPE))
CLASSES = 4
LINF, L2 = ThreatModel(norm=Norm.LINF, epsilon=0.12), ThreatModel(norm=Norm.L2, epsilon=0.46)
"""Radii that break some images and leave others."""

BOTH_NORMS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: str(threat.norm))

Float64Array = npt.NDArray[np.float64]


def problems(n: int = 60) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Images, slopes and what shall be gained: some of it within reach only along the walls of [0,
    1], some not at all; some pixels that lie on a wall, and some that do not matter."""
    random = np.random.default_rng(0)
    x = np.clip(random.uniform(-0.3, 1.3, (n, PIXELS)), 0, 1).astype(np.float32)
    slope = (random.normal(size=(n, PIXELS)) * (random.random((n, PIXELS)) < 0.8)).astype(
        np.float32
    )
    sign = random.choice([-1.0, 1.0], n)
    wanted = sign * random.uniform(0.02, 1.3, n) * np.abs(slope * most(x, slope, sign)).sum(axis=1)
    return x, slope, wanted.astype(np.float32)


def most(x: FloatArray, slope: FloatArray, sign: FloatArray) -> FloatArray:
    """The move inside [0, 1] that gains most in the direction of the sign."""
    upwards = slope * sign[:, None]
    return np.where(upwards > 0, 1 - x, np.where(upwards < 0, -x, 0.0))


def found_by(norm: Norm, x: FloatArray, slope: FloatArray, wanted: FloatArray) -> FloatArray:
    images = [array.reshape(-1, *SHAPE) for array in (x, slope)]
    move = to_hyperplane(*map(tf.constant, (*images, wanted)), norm)
    return move.numpy().reshape(x.shape)


def smallest_linf(x: FloatArray, slope: FloatArray, wanted: float) -> float:
    """Of one image: the least size t of a move d with |d_i| <= t inside [0, 1] that gains what is
    wanted."""
    eye, ones = np.eye(PIXELS), np.ones((PIXELS, 1))
    answer = linprog(
        np.append(np.zeros(PIXELS), 1.0),
        A_ub=np.block([[eye, -ones], [-eye, -ones]]),
        b_ub=np.zeros(2 * PIXELS),
        A_eq=np.append(slope, 0.0)[None],
        b_eq=[wanted],
        bounds=[*((-pixel, 1 - pixel) for pixel in x), (0, None)],
    )
    assert answer.status == 0, answer.message
    return float(answer.fun)


def smallest_l2(x: FloatArray, slope: FloatArray, wanted: float, start: FloatArray) -> FloatArray:
    """Of one image: the one smallest move inside [0, 1] that gains what is wanted."""
    answer = minimize(
        lambda d: (d @ d, 2 * d),
        start,
        jac=True,
        method="SLSQP",
        bounds=[(-pixel, 1 - pixel) for pixel in x],
        constraints={"type": "eq", "fun": lambda d: slope @ d - wanted, "jac": lambda d: slope},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert answer.success, answer.message
    return np.asarray(answer.x)


@pytest.mark.parametrize("norm", Norm)
def test_the_smallest_move_that_gains_what_is_wanted(norm: Norm) -> None:
    x, slope, wanted = problems()
    delta = found_by(norm, x, slope, wanted)
    limit = most(x, slope, np.sign(wanted))
    reachable = np.abs(slope * limit).sum(axis=1) > np.abs(wanted) * 1.001
    walled = np.any((np.abs(delta) >= np.abs(limit) - 1e-6) & (limit != 0), axis=1)
    assert np.sum(reachable & walled) > 10
    assert np.sum(reachable & ~walled) > 5
    assert np.sum(~reachable) > 5
    assert np.all((x + delta >= -1e-6) & (x + delta <= 1 + 1e-6))
    np.testing.assert_allclose(
        np.sum(slope * delta, axis=1)[reachable], wanted[reachable], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(delta[~reachable], limit[~reachable], atol=1e-6)
    for i in np.flatnonzero(reachable):
        problem = (x[i].astype(np.float64), slope[i].astype(np.float64), float(wanted[i]))
        if norm is Norm.LINF:
            np.testing.assert_allclose(
                np.abs(delta[i]).max(), smallest_linf(*problem), rtol=1e-4, atol=1e-6
            )
        else:
            gain = np.sum(slope[i] * limit[i])
            expected = smallest_l2(*problem, start=limit[i] * wanted[i] / gain)
            np.testing.assert_allclose(delta[i], expected, atol=2e-4)


@pytest.mark.parametrize("norm", Norm)
def test_without_a_slope_or_a_wish_nothing_moves(norm: Norm) -> None:
    x, slope, wanted = problems()
    np.testing.assert_array_equal(found_by(norm, x, np.zeros_like(slope), wanted), 0.0)
    np.testing.assert_array_equal(found_by(norm, x, slope, np.zeros_like(wanted)), 0.0)


@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6])
@pytest.mark.parametrize("norm", Norm)
def test_the_scale_of_the_function_does_not_matter(norm: Norm, scale: float) -> None:
    x, slope, wanted = problems()
    scaled = found_by(norm, x, slope * np.float32(scale), wanted * np.float32(scale))
    np.testing.assert_allclose(scaled, found_by(norm, x, slope, wanted), atol=1e-4)


def bisected(x: Float64Array, slope: Float64Array, wanted: float, norm: Norm) -> Float64Array:
    """The smallest move of one image, in float64, by halving how far its pixels go."""
    slope = np.where(np.abs(slope) < 1e-8, 0.0, slope if wanted >= 0 else -slope)
    room = np.where(slope > 0, 1 - x, x) * (slope != 0)
    pace = np.ones_like(slope) if norm is Norm.LINF else np.abs(slope)
    low, high = 0.0, float(np.max(room / np.where(pace > 0, pace, 1.0)))
    for _ in range(60):
        middle = (low + high) / 2
        enough = np.abs(slope) @ np.minimum(middle * pace, room) >= abs(wanted)
        low, high = (low, middle) if enough else (middle, high)
    return np.asarray(np.sign(slope) * np.minimum(high * pace, room))


@pytest.mark.parametrize("norm", Norm)
def test_the_smallest_move_of_many_pixels(norm: Norm) -> None:
    """As many as CIFAR-10 has, where sums of float32 are least exact."""
    random = np.random.default_rng(1)
    x = np.clip(random.uniform(-0.5, 1.5, (20, 3072)), 0, 1).astype(np.float32)
    slope = random.normal(size=x.shape).astype(np.float32)
    wanted = (
        np.linspace(-1.1, 1.1, 20) * np.abs(slope * most(x, slope, np.ones(20))).sum(axis=1)
    ).astype(np.float32)
    images = [array.reshape(-1, 32, 32, 3) for array in (x, slope)]
    move = to_hyperplane(*map(tf.constant, (*images, wanted)), norm)
    delta = move.numpy().reshape(x.shape)
    expected = [
        bisected(*(array.astype(np.float64) for array in row), norm)
        for row in zip(x, slope, wanted, strict=True)
    ]
    np.testing.assert_allclose(delta, expected, atol=1e-4)


def test_rounding_in_the_slope_is_worth_no_distance_in_l2() -> None:
    """Out of reach, every pixel with a slope goes all the way."""
    x = np.full((2, PIXELS), 0.5, np.float32)
    slope = np.full_like(x, 1e-9)
    slope[0, :3], slope[1, :3] = 1.0, 1e-9  # noise beside a slope; a small slope and nothing else
    delta = found_by(Norm.L2, x, slope, np.asarray([100.0, 100.0], np.float32))
    np.testing.assert_array_equal(delta[0], 0.5 * (slope[0] == 1.0))
    np.testing.assert_array_equal(delta[1], 0.5)


class CurvedModel:
    """A small network with a hidden layer, whose logits can be scaled."""

    def __init__(self, scale: float = 1.0) -> None:
        random = np.random.default_rng(0)
        self.w = random.normal(size=(PIXELS, 16)).astype(np.float32)
        self.out = np.float32(scale) * random.normal(size=(16, CLASSES)).astype(np.float32)

    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.tanh(tf.reshape(x, [-1, PIXELS]) @ self.w) @ self.out


@functools.cache
def compiled(threat: ThreatModel, scale: float = 1.0) -> CompiledFab:
    """One for all tests, because compiling takes longer than attacking."""
    return CompiledFab(CurvedModel(scale), threat)


def attack(steps: int = 30, restarts: int = 1, targets: int = 9) -> FabT:
    return FabT(steps=steps, restarts=restarts, targets=targets)


def batch(n: int) -> tuple[FloatArray, IntArray, IntArray]:
    """Images, a third of which are black and white, labels that the curved model gets right, and
    seeds."""
    x = np.random.default_rng(7).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[: n // 3] = np.round(x[: n // 3])
    return x, np.argmax(CurvedModel()(x), axis=1), image_seeds([b"%d" % i for i in range(n)], 3)


def changed(x_adv: FloatArray, x: FloatArray) -> BoolArray:
    return np.any(x_adv != x, axis=(1, 2, 3))


def misclassified_by_hand(
    x: Float64Array, y: int, target: int, steps: int, norm: Norm
) -> tuple[list[Float64Array], Float64Array]:
    """All misclassified points of one run on one image, with their distances: Croce & Hein 2020,
    algorithm 1, in float64, with the published constants, and to the end."""
    model, order = CurvedModel(), None if norm is Norm.L2 else np.inf
    w, out = model.w.astype(np.float64), model.out.astype(np.float64)
    point, points = x, []
    for _ in range(steps):
        hidden = np.tanh(point @ w)
        difference = out[:, target] - out[:, y]
        slope = w @ ((1 - hidden**2) * difference)
        height = hidden @ difference - slope @ point  # of the linearised margin at 0
        move, clean_move = (
            bisected(start, slope, -(slope @ start + height), norm) for start in (point, x)
        )
        near, far = (max(float(np.linalg.norm(each, order)), 1e-8) for each in (move, clean_move))
        alpha = min(near / (near + far), 0.1)
        point = np.clip((1 - alpha) * (point + 1.05 * move) + alpha * (x + 1.05 * clean_move), 0, 1)
        if np.argmax(np.tanh(point @ w) @ out) != y:
            points.append(point)
            point = x + 0.9 * (point - x)
    return points, np.asarray([np.linalg.norm(point - x, order) for point in points])


@BOTH_NORMS
def test_breaks_what_the_nearest_point_of_a_full_run_breaks(threat: ThreatModel) -> None:
    """Stopping at the first point in the ball loses no image, and returns that point."""
    x, y, seeds = batch(30)
    x_adv = compiled(threat).run(x, y, seeds, attack())
    ranked = np.argsort(-CurvedModel()(x).numpy(), axis=1)[:, 1:]
    pulled_back, later_target = 0, 0
    for i, broken in enumerate(changed(x_adv, x)):
        flat, first = x[i].reshape(-1).astype(np.float64), None
        for target in ranked[i]:
            points, distances = misclassified_by_hand(flat, y[i], target, 30, threat.norm)
            if first is None and np.any(distances <= threat.epsilon):
                first = points[np.argmax(distances <= threat.epsilon)]
                pulled_back += distances[0] > threat.epsilon
                later_target += target != ranked[i, 0]
        assert broken == (first is not None)
        np.testing.assert_allclose(
            x_adv[i].reshape(-1), flat if first is None else first, atol=1e-5
        )
    assert min(pulled_back, later_target) >= 1
    assert 5 < np.sum(changed(x_adv, x)) < len(x)


@pytest.mark.parametrize("norm", Norm)
def test_finds_the_nearest_class_of_a_linear_model_along_the_walls(norm: Norm) -> None:
    """Most pixels are 0 or 1, so that the closed form does not hold; linear programming tells the
    distance."""
    random = np.random.default_rng(5)
    w = random.normal(size=(PIXELS, 3)).astype(np.float32)
    x = np.clip(random.uniform(-1, 2, size=(40, PIXELS)), 0, 1).astype(np.float32)
    w -= w.mean(axis=0)
    y = np.argmax(x @ w, axis=1)
    distances = np.full((len(x), 3), np.inf)
    for i, target in np.ndindex(distances.shape):
        slope = (w[:, target] - w[:, y[i]]).astype(np.float64)
        gap, most_gain = (
            -float(x[i] @ slope),
            np.sum(slope * most(x[i : i + 1], slope[None], np.ones(1))),
        )
        if target != y[i] and gap < most_gain:
            flat = x[i].astype(np.float64)
            move = bisected(flat, slope, gap, norm)
            distances[i, target] = (
                smallest_linf(flat, slope, gap) if norm is Norm.LINF else np.linalg.norm(move)
            )
    nearest = distances.min(axis=1)
    threat = ThreatModel(norm=norm, epsilon=float(np.median(nearest)))
    clear = (
        np.abs(nearest / threat.epsilon - 1) > 0.01
    )  # by so much an overshot point lies behind the boundary
    assert np.sum(clear) >= 35
    images = x.reshape(-1, *SHAPE)
    attacker = CompiledFab(lambda x, training: tf.reshape(x, [-1, PIXELS]) @ w, threat)
    x_adv = attacker.run(images, y, image_seeds([b"%d" % i for i in range(40)], 0), attack(100))
    broken = np.argmax(x_adv.reshape(-1, PIXELS) @ w, axis=1) != y
    np.testing.assert_array_equal(broken[clear], (nearest < threat.epsilon)[clear])


@BOTH_NORMS
@pytest.mark.parametrize("scale", [1e-15, 1e6])
def test_the_scale_of_the_logits_does_not_matter(threat: ThreatModel, scale: float) -> None:
    x, y, seeds = batch(30)
    images = [
        compiled(threat, each).run(x, y, seeds, attack(10, targets=1)) for each in (1.0, scale)
    ]
    assert np.any(changed(images[0], x))
    np.testing.assert_allclose(images[1], images[0], atol=1e-4)


def test_images_that_are_wrong_from_the_start_are_left_alone() -> None:
    x, y, seeds = batch(30)
    wrong = np.arange(30) % 2 == 0
    x_adv = compiled(LINF).run(x, np.where(wrong, (y + 1) % CLASSES, y), seeds, attack())
    np.testing.assert_array_equal(x_adv[wrong], x[wrong])
    assert np.any(changed(x_adv, x)[~wrong])


@pytest.mark.parametrize(
    ("beyond", "broken"), [(0.0, True), (2e-7, False)], ids=["on-it", "outside"]
)
def test_what_is_returned_is_what_the_model_was_asked_about(beyond: float, broken: bool) -> None:
    """The first step ends 5e-7 outside the ball, so near that the model is asked about its
    projection instead. On grey, the model is wrong from somewhat brighter than epsilon on, but its
    slope leads there."""
    x, near = np.full((1, *SHAPE), 0.5, np.float32), (LINF.epsilon + 5e-7) / 1.05

    def model(images: tf.Tensor, training: bool) -> tf.Tensor:
        brighter = tf.reduce_mean(images, axis=[1, 2, 3]) - 0.5
        right = (brighter > near) & (brighter < LINF.epsilon + beyond - 1e-7)
        margin = tf.where(right, near - brighter, brighter - near)
        return tf.stack([tf.zeros_like(margin), margin], axis=1)

    x_adv = CompiledFab(model, LINF).run(
        x, np.zeros(1, np.int64), np.zeros((1, 2), np.int64), attack(20)
    )
    assert bool(changed(x_adv, x)[0]) is broken
    assert np.abs(x_adv - x).max() <= LINF.epsilon + 1e-7


@pytest.mark.parametrize("steps", [1, 5, 12])
def test_makes_every_step(steps: int) -> None:
    x, y, seeds = batch(30)
    attacker, made = CompiledFab(CurvedModel(), ThreatModel(epsilon=1e-6)), []
    approach = attacker._approach

    def counted(*arguments: Any) -> Any:
        made.append(arguments[-1])
        return approach(*arguments)

    attacker._approach = counted
    attacker.run(x, y, seeds, attack(steps, targets=1))
    assert sum(made) == steps


def runs(x: FloatArray, threat: ThreatModel, effort: FabT) -> list[tuple[FloatArray, IntArray]]:
    """Where each run of the attack begins, and its targets, if none finds anything."""
    begun: list[tuple[FloatArray, IntArray]] = []

    class Recorded(CompiledFab):
        def _towards(
            self, start: FloatArray, x: FloatArray, y: IntArray, target: IntArray, steps: int
        ) -> Any:
            begun.append((start, target))
            return start, np.zeros(len(x), bool)

    y = np.argmax(CurvedModel()(x), axis=1)
    Recorded(CurvedModel(), threat).run(
        x, y, image_seeds([b"%d" % i for i in range(len(x))], 3), effort
    )
    return begun


@pytest.mark.parametrize(("targets", "expected"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_targets_are_all_wrong_classes_at_most_in_the_order_of_the_clean_logits(
    targets: int, expected: int
) -> None:
    x, *_ = batch(30)
    aimed = np.stack([target for _, target in runs(x, LINF, attack(targets=targets))], axis=1)
    ranked = np.argsort(-CurvedModel()(x).numpy(), axis=1)
    np.testing.assert_array_equal(aimed, ranked[:, 1 : 1 + expected])


@BOTH_NORMS
def test_later_restarts_begin_half_way_to_the_surface_each_at_another_place(
    threat: ThreatModel,
) -> None:
    x = np.clip(batch(30)[0], 0.3, 0.7)
    starts = [start for start, _ in runs(x, threat, attack(restarts=3, targets=2))]
    assert len(starts) == 6
    np.testing.assert_array_equal(starts[0], x)
    np.testing.assert_array_equal(starts[3], x)
    drawn = [starts[i] for i in (1, 2, 4, 5)]
    for start in drawn:
        delta = (start - x).reshape(len(x), -1)
        length = (
            np.abs(delta).max(axis=1) if threat.norm is Norm.LINF else np.linalg.norm(delta, axis=1)
        )
        np.testing.assert_allclose(length, threat.epsilon / 2, rtol=1e-4)
    assert all(changed(a, b).all() for i, a in enumerate(drawn) for b in drawn[:i])
    fewer = [start for start, _ in runs(x, threat, attack(restarts=2, targets=2))]
    np.testing.assert_array_equal(
        fewer[1], starts[1], err_msg="a draw depends on how many there are"
    )
    np.testing.assert_array_equal(
        fewer[3], starts[4], err_msg="a draw depends on how many there are"
    )
