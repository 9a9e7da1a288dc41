"""Square: properties that hold for any model, the published schedule, and agreement with plain
slicing."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from foundation.seeds import image_seeds
from robustness.attacks import square
from robustness.attacks.square import (
    CompiledSquare,
    schedule,
    two_pyramids,
    window_share,
    window_side,
)
from robustness.config import Norm, Square, ThreatModel
from robustness.types import FloatArray, IntArray

SHAPE = (6, 5, 1)
CLASSES = 3
PIXELS = int(np.prod(SHAPE))
THREATS = [
    ThreatModel(norm=Norm.LINF, epsilon=0.02),
    ThreatModel(norm=Norm.LINF, epsilon=0.3),
    ThreatModel(norm=Norm.L2, epsilon=0.1),
    ThreatModel(norm=Norm.L2, epsilon=0.7),
]
WEAK = [THREATS[0], THREATS[2]]
"""They leave some images unbroken."""

BOTH_NORMS = pytest.mark.parametrize("threat", WEAK, ids=lambda t: f"{t.norm}-{t.epsilon}")


class CurvedModel:
    """A small network with a hidden layer; `trainings` holds the `training` argument of each
    trace."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.w = random.normal(size=(PIXELS, 16)).astype(np.float32)
        self.out = random.normal(size=(16, CLASSES)).astype(np.float32)
        self.trainings: list[bool] = []

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        self.trainings.append(training)
        return tf.tanh(tf.reshape(x, [-1, PIXELS]) @ self.w) @ self.out


class RecordingModel(CurvedModel):
    """Keeps every batch that it is asked about; has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[FloatArray] = []

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        def answer(images: FloatArray) -> FloatArray:
            self.batches.append(images.copy())
            return np.asarray(np.tanh(images.reshape(-1, PIXELS) @ self.w) @ self.out, np.float32)

        return tf.ensure_shape(tf.numpy_function(answer, [x], tf.float32), [None, CLASSES])


@functools.cache
def searcher(threat: ThreatModel) -> CompiledSquare:
    """One for all tests, because compiling takes longer than attacking."""
    return CompiledSquare(CurvedModel(), threat)


def attack(queries: int = 60, restarts: int = 1) -> Square:
    return Square(queries=queries, restarts=restarts)


def batch(n: int = 24, seed: int = 3) -> tuple[FloatArray, IntArray, IntArray]:
    """Images, labels that the curved model gets right, and seeds."""
    x = np.random.default_rng(7).uniform(size=(n, *SHAPE)).astype(np.float32)
    y = np.argmax(CurvedModel()(x, training=False).numpy(), axis=1).astype(np.int64)
    return x, y, image_seeds([b"%d" % i for i in range(n)], seed)


def margins(x: FloatArray, y: IntArray) -> FloatArray:
    """Largest other logit minus the true one, in NumPy: positive where the curved model is
    wrong."""
    logits = np.array(CurvedModel()(x, training=False))
    true = logits[np.arange(len(y)), y].copy()
    logits[np.arange(len(y)), y] = -np.inf
    return np.asarray(logits.max(axis=1) - true)


def sizes(delta: FloatArray, norm: Norm) -> FloatArray:
    flat = np.abs(delta).reshape(len(delta), -1).astype(np.float64)
    return np.asarray(flat.max(axis=1) if norm is Norm.LINF else np.sqrt((flat**2).sum(axis=1)))


@pytest.mark.parametrize("threat", THREATS, ids=lambda t: f"{t.norm}-{t.epsilon}")
def test_attacked_images_stay_in_the_ball_and_in_range(threat: ThreatModel) -> None:
    x, y, seeds = batch()
    x[0], x[1] = 0.0, 1.0  # corners, where clipping matters
    x_adv = searcher(threat).run(x, y, seeds, attack())
    assert x_adv.dtype == np.float32
    size = sizes(x_adv - x, threat.norm)
    assert size.max() <= threat.epsilon + 1e-6
    assert size.max() >= 0.95 * threat.epsilon, "the attack does not use its budget"
    assert x_adv.min() >= 0.0
    assert x_adv.max() <= 1.0


@pytest.mark.parametrize("norm", Norm)
def test_epsilon_zero_is_the_identity(norm: Norm) -> None:
    x, y, seeds = batch()
    x_adv = searcher(ThreatModel(norm=norm, epsilon=0.0)).run(x, y, seeds, attack())
    np.testing.assert_array_equal(x_adv, x)


@BOTH_NORMS
def test_the_seed_decides(threat: ThreatModel) -> None:
    x, y, seeds = batch()
    attacker = searcher(threat)
    first, again = (attacker.run(x, y, seeds, attack()) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = attacker.run(x, y, batch(seed=4)[2], attack())
    assert np.all(np.any(first != other, axis=(1, 2, 3)))


@BOTH_NORMS
def test_images_of_one_batch_draw_apart(threat: ThreatModel) -> None:
    x, y, seeds = batch()
    x[:], y[:] = x[0], y[0]
    x_adv = searcher(threat).run(x, y, seeds, attack(queries=5))
    assert len(np.unique(x_adv.reshape(len(x), -1), axis=0)) > len(x) / 2


@BOTH_NORMS
def test_results_do_not_depend_on_the_batch_size_and_nothing_is_compiled_twice(
    threat: ThreatModel,
) -> None:
    x, y, seeds = batch()
    model = CurvedModel()
    attacker = CompiledSquare(model, threat)
    whole = attacker.run(x, y, seeds, attack(restarts=2))
    for size in (1, 7):
        parts = [slice(i, i + size) for i in range(0, len(x), size)]
        images = [attacker.run(x[p], y[p], seeds[p], attack(restarts=2)) for p in parts]
        np.testing.assert_allclose(np.concatenate(images), whole, atol=1e-6)
    assert model.trainings == [False, False], (
        "one trace for the start, one for the queries, both of inference"
    )


@BOTH_NORMS
def test_more_queries_find_more_in_sum(threat: ThreatModel) -> None:
    """Not image by image: the windows of a longer run shrink later."""
    x, y, seeds = batch(200)
    attacker = searcher(threat)
    reached = [margins(attacker.run(x, y, seeds, attack(queries)), y) for queries in (1, 20, 200)]
    broken = [np.mean(margin > 0) for margin in reached]
    assert 0.0 < broken[0] < broken[1] < broken[2] < 1.0
    survivors = reached[-1] <= 0
    means = [np.mean(margin[survivors]) for margin in reached]
    assert means[0] < means[1] < means[2]


@BOTH_NORMS
def test_more_restarts_never_help_the_model(threat: ThreatModel) -> None:
    x, y, seeds = batch(200)
    attacker = searcher(threat)
    one, three = (
        margins(attacker.run(x, y, seeds, attack(10, restarts)), y) for restarts in (1, 3)
    )
    assert not np.any((one > 0) & (three <= 0)), "an image that one restart broke survives three"
    survivors = three <= 0
    assert np.all(three[survivors] >= one[survivors] - 1e-5), "the best point was not kept"
    assert np.sum(three > 0) > np.sum(one > 0)


@BOTH_NORMS
def test_the_best_point_that_was_tried_is_returned(threat: ThreatModel) -> None:
    """Image by image: the first misclassified point, and no restart is made after it; else, of all
    points (queries + 1 a restart), the one with the highest margin."""
    x, y, seeds = batch()
    model = RecordingModel()
    attacker = CompiledSquare(model, threat)
    fallen = []
    for i in range(len(x)):
        model.batches.clear()
        one = slice(i, i + 1)
        x_adv = attacker.run(x[one], y[one], seeds[one], attack(50, restarts=2))
        tried = np.concatenate(model.batches)
        reached = margins(tried, np.repeat(y[one], len(tried)))
        fallen.append(np.any(reached > 0))
        best = np.argmax(reached > 0) if fallen[-1] else np.argmax(reached)
        np.testing.assert_array_equal(x_adv[0], tried[best])
        assert len(tried) == 2 * 51 or fallen[-1]
        assert reached[0] <= 0 or len(tried) == 1, (
            "an image broken by its start is asked about again"
        )
    assert 0 < np.sum(fallen) < len(x)


def test_a_query_changes_one_window_of_the_best_point() -> None:
    queries = 40
    model = RecordingModel()
    x, y, seeds = batch(1)
    CompiledSquare(model, ThreatModel(epsilon=1e-4)).run(x, y, seeds, attack(queries))
    points = np.concatenate(model.batches)
    reached = margins(points, np.repeat(y, len(points)))
    for query in range(queries):
        best = points[np.argmax(reached[: query + 1])]
        changed = np.argwhere(points[query + 1] != best)
        side = window_side(window_share(query, queries), *SHAPE[:2], Norm.LINF)
        assert not len(changed) or np.all(np.ptp(changed, axis=0) < side)


def test_uses_no_gradients() -> None:
    inner = CurvedModel()

    @tf.custom_gradient
    def opaque(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            raise AssertionError("a gradient was asked for")

        return inner(x, training=False), gradient

    x, y, seeds = batch()
    for threat in WEAK:
        x_adv = CompiledSquare(lambda x, training: opaque(x), threat).run(x, y, seeds, attack())
        np.testing.assert_array_equal(x_adv, searcher(threat).run(x, y, seeds, attack()))


def test_no_images_give_no_images() -> None:
    x, y, seeds = batch()
    model = RecordingModel()
    x_adv = CompiledSquare(model, WEAK[0]).run(x[:0], y[:0], seeds[:0], attack())
    assert x_adv.shape == (0, *SHAPE)
    assert not model.batches


@pytest.mark.parametrize(
    ("queries", "last"),
    [
        (10_000, [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000, 9999]),
        (5_000, [5, 25, 100, 250, 500, 1000, 2000, 3000, 4000, 4999]),
    ],
    ids=["10000", "5000"],
)
def test_the_share_of_a_window_follows_the_published_schedule(
    queries: int, last: list[int]
) -> None:
    """`last` are the last queries with p = 0.8, 0.4, 0.2, ...; they count from 0."""
    expected = np.repeat(0.8 / 2.0 ** np.arange(10), np.diff([-1, *last]))
    np.testing.assert_allclose(
        [window_share(query, queries) for query in range(queries)], expected, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("norm", "sides"),
    [(Norm.LINF, [25, 18, 13, 9, 6, 4, 3, 2, 2, 1]), (Norm.L2, [25, 19, 13, 9, 7, 5, 3, 3, 3, 3])],
    ids=["linf", "l2"],
)
def test_the_side_of_a_window_covers_its_share(norm: Norm, sides: list[int]) -> None:
    assert [window_side(0.8 / 2**i, 28, 28, norm) for i in range(10)] == sides
    assert window_side(0.8, 28, 12, norm) == 12, "a window fits into the image"


@pytest.mark.parametrize("queries", [1, 7, 500, 5000])
def test_the_segments_hold_every_query_once(queries: int) -> None:
    asked = [
        (first + i, side)
        for first, count, side in schedule(queries, 28, 28, Norm.LINF)
        for i in range(count)
    ]
    assert asked == [
        (q, window_side(window_share(q, queries), 28, 28, Norm.LINF)) for q in range(queries)
    ]


def test_reaches_the_exact_optimum_of_a_binary_linear_model() -> None:
    """The best perturbation lowers the margin by epsilon times the sum of the weights'
    differences."""
    random = np.random.default_rng(1)
    x = random.uniform(0.45, 0.55, size=(24, *SHAPE)).astype(
        np.float32
    )  # the closed form knows no clipping
    w = random.normal(size=(PIXELS, 2)).astype(np.float32)
    w -= w.mean(axis=0)  # grey images lie on the boundary, so a small epsilon breaks some
    difference = (w[:, 1] - w[:, 0]).astype(np.float64)
    signed = x.reshape(len(x), -1) @ difference
    y = (signed > 0).astype(np.int64)
    epsilon = float(np.median(np.abs(signed)) / np.abs(difference).sum())
    optimum = np.abs(signed) - epsilon * np.abs(difference).sum()
    attacker = CompiledSquare(
        lambda x, training: tf.reshape(x, [-1, PIXELS]) @ w, ThreatModel(epsilon=epsilon)
    )
    x_adv = attacker.run(x, y, image_seeds([b"%d" % i for i in range(len(x))], 0), attack(1000))
    reached = (x_adv.reshape(len(x), -1) @ difference) * np.where(y == 1, 1, -1)
    np.testing.assert_array_equal(reached < 0, optimum < 0)
    np.testing.assert_allclose(reached[optimum > 0], optimum[optimum > 0], atol=1e-5)
    assert 0 < np.sum(optimum < 0) < len(x)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8, 25])
def test_pyramids_are_stacked_rings(side: int) -> None:
    """The paper's definition, ring by ring: the k-th adds 1 / k^2 to all within k - 1 pixels of the
    middle."""
    expected = np.zeros((side, side))
    for first, height, sign in ((0, side // 2, 1.0), (side // 2, side - side // 2, -1.0)):
        if not height:
            continue
        half = np.zeros((height, side))
        for k in range(1, max(height, side) // 2 + 2):
            top, left = height // 2 - k + 1, side // 2 - k + 1
            half[max(top, 0) : top + 2 * k - 1, max(left, 0) : left + 2 * k - 1] += 1 / k**2
        expected[first : first + height] = sign * half / np.linalg.norm(half)
    np.testing.assert_allclose(two_pyramids(side), expected / np.linalg.norm(expected), atol=1e-6)


def first_points(threat: ThreatModel, x: FloatArray, tile: FloatArray) -> FloatArray:
    """Where the search begins."""
    seeds = batch(len(x))[2]
    return searcher(threat)._start(*map(tf.constant, (x, seeds, tile))).numpy()


def proposal_by_slices(
    best: FloatArray, x: FloatArray, draws: FloatArray, side: int, threat: ThreatModel
) -> FloatArray:
    """One image, in float64: float32 [h, w, c] each, draws [5 + c]."""
    room = np.asarray([x.shape[0] - side + 1, x.shape[1] - side + 1])
    (top, left), (top_2, left_2) = (draws[:2] * room).astype(int), (draws[2:4] * room).astype(int)
    target = np.s_[top : top + side, left : left + side]
    source = np.s_[top_2 : top_2 + side, left_2 : left_2 + side]
    signs = np.where(draws[5:] < 0.5, -1.0, 1.0)
    result = best.astype(np.float64)
    if threat.norm is Norm.LINF:
        result[target] = np.clip(x[target] + threat.epsilon * signs, 0, 1)
        return result
    delta = result - x
    in_windows = np.zeros(x.shape, bool)
    in_windows[target] = in_windows[source] = True
    left_over = max(threat.epsilon**2 - (delta**2).sum(), 0.0)
    pyramids = two_pyramids(side).T if draws[4] > 0.5 else two_pyramids(side)
    window = np.zeros((side, side, x.shape[2]))
    for channel, sign in enumerate(signs):
        old = delta[target][..., channel]
        blend = sign * pyramids + old / max(np.linalg.norm(old), 1e-12)
        energy = (delta[..., channel] ** 2 * in_windows[..., channel]).sum() + left_over / x.shape[
            2
        ]
        window[..., channel] = blend / np.linalg.norm(blend) * np.sqrt(energy)
    delta[source] = 0.0
    delta[target] = window
    return np.clip(x + delta * threat.epsilon / np.linalg.norm(delta), 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "threat", [ThreatModel(epsilon=0.2), ThreatModel(norm=Norm.L2, epsilon=1.5)], ids=["linf", "l2"]
)
def test_a_window_is_changed_as_by_slices(threat: ThreatModel, channels: int) -> None:
    random = np.random.default_rng(2)
    attacker = searcher(threat)
    x = np.clip(random.normal(0.5, 0.5, size=(16, 12, 10, channels)), 0, 1).astype(
        np.float32
    )  # many at 0 or 1
    best = first_points(threat, x, two_pyramids(2))
    for side in (1, 3, 5, 10) if threat.norm is Norm.LINF else (3, 5, 10):
        draws = random.random((16, 5 + channels)).astype(np.float32)
        draws[0, :4], draws[1, :4] = 0.0, 1 - 2**-23  # both edges
        draws[2, 2:4] = draws[2, :2]  # one window for both
        found = attacker._propose(
            tf.constant(best), tf.constant(x), tf.constant(draws), tf.constant(two_pyramids(side))
        )
        expected = [
            proposal_by_slices(*row, side, threat) for row in zip(best, x, draws, strict=True)
        ]
        np.testing.assert_allclose(found, expected, atol=2e-6)
        best = found.numpy()


def test_linf_starts_with_vertical_stripes() -> None:
    x = np.full((8, 12, 10, 3), 0.5, np.float32)
    start = first_points(ThreatModel(epsilon=0.25), x, two_pyramids(2))
    np.testing.assert_array_equal(np.abs(start - x), 0.25)
    np.testing.assert_array_equal(start, np.broadcast_to(start[:, :1], start.shape))
    assert 0.3 < np.mean(start > x) < 0.7
    assert len(np.unique(start[:, 0].reshape(8, -1), axis=0)) == 8


@pytest.mark.parametrize("shape", [(28, 28), (14, 31)])
def test_l2_starts_with_a_grid_of_pyramids(shape: tuple[int, int]) -> None:
    x = np.full((8, *shape, 2), 0.5, np.float32)
    side = min(shape) // 5
    tile = two_pyramids(side)
    delta = first_points(ThreatModel(norm=Norm.L2, epsilon=0.5), x, tile) - x
    np.testing.assert_allclose(np.sqrt((delta**2).sum(axis=(1, 2, 3))), 0.5, rtol=1e-5)
    rows, columns = shape[0] // side, shape[1] // side
    top, left = shape[0] % side // 2, shape[1] % side // 2
    grid = delta[:, top : top + rows * side, left : left + columns * side]
    assert np.count_nonzero(grid) == np.count_nonzero(delta)
    tiles = grid.reshape(8, rows, side, columns, side, 2) / (0.5 / np.sqrt(rows * columns * 2))
    lying, standing = (
        np.einsum("nrscti,st->nrci", tiles, tile),
        np.einsum("nrscti,ts->nrci", tiles, tile),
    )
    np.testing.assert_allclose(np.maximum(np.abs(lying), np.abs(standing)), 1.0, atol=1e-4)
    assert 0.3 < np.mean(lying > 0) < 0.7
    assert 0.3 < np.mean(np.abs(lying) > np.abs(standing)) < 0.7


def test_draws_are_uniform_and_differ_by_image() -> None:
    draws = square.uniform(tf.constant(batch(50)[2]), [40, 6]).numpy()
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    np.testing.assert_allclose(np.histogram(draws, 10, (0, 1))[0] / draws.size, 0.1, atol=0.01)
    assert len(np.unique(draws[:, 0, 0])) == 50
