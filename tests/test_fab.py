"""FAB's projection onto a hyperplane inside [0, 1], against general solvers."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from robustness.arrays import FloatArray
from robustness.attacks.fab import to_hyperplane
from robustness.config import Norm

SHAPE = (4, 3, 1)
PIXELS = int(np.prod(SHAPE))


def problems(n: int = 60) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Images, slopes and what shall be gained: some of it within reach only along the walls of [0, 1], some not
    at all; some pixels that lie on a wall, and some that do not matter."""
    random = np.random.default_rng(0)
    x = np.clip(random.uniform(-0.3, 1.3, (n, PIXELS)), 0, 1).astype(np.float32)
    slope = (random.normal(size=(n, PIXELS)) * (random.random((n, PIXELS)) < 0.8)).astype(np.float32)
    sign = random.choice([-1.0, 1.0], n)
    wanted = sign * random.uniform(0.02, 1.3, n) * np.abs(slope * most(x, slope, sign)).sum(axis=1)
    return x, slope, wanted.astype(np.float32)


def most(x: FloatArray, slope: FloatArray, sign: FloatArray) -> FloatArray:
    """The move inside [0, 1] that gains most in the direction of the sign."""
    upwards = slope * sign[:, None]
    return np.where(upwards > 0, 1 - x, np.where(upwards < 0, -x, 0.0))


def found_by(norm: Norm, x: FloatArray, slope: FloatArray, wanted: FloatArray) -> FloatArray:
    images = [array.reshape(-1, *SHAPE) for array in (x, slope)]
    return to_hyperplane(*images, wanted, norm).numpy().reshape(x.shape)


def smallest_linf(x: FloatArray, slope: FloatArray, wanted: float) -> float:
    """Of one image: the least size t of a move d with |d_i| <= t inside [0, 1] that gains what is wanted."""
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
    np.testing.assert_allclose(np.sum(slope * delta, axis=1)[reachable], wanted[reachable], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(delta[~reachable], limit[~reachable], atol=1e-6)
    for i in np.flatnonzero(reachable):
        problem = (x[i].astype(np.float64), slope[i].astype(np.float64), float(wanted[i]))
        if norm is Norm.LINF:
            np.testing.assert_allclose(np.abs(delta[i]).max(), smallest_linf(*problem), rtol=1e-4, atol=1e-6)
        else:
            gain = np.sum(slope[i] * limit[i])
            expected = smallest_l2(*problem, start=limit[i] * wanted[i] / gain)
            np.testing.assert_allclose(delta[i], expected, atol=2e-4)


@pytest.mark.parametrize("norm", Norm)
def test_without_a_slope_or_a_wish_nothing_moves(norm: Norm) -> None:
    x, slope, wanted = problems()
    np.testing.assert_array_equal(found_by(norm, x, np.zeros_like(slope), wanted), 0.0)
    np.testing.assert_array_equal(found_by(norm, x, slope, np.zeros_like(wanted)), 0.0)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("norm", Norm)
def test_the_scale_of_the_function_does_not_matter(norm: Norm, scale: float) -> None:
    x, slope, wanted = problems()
    scaled = found_by(norm, x, slope * np.float32(scale), wanted * np.float32(scale))
    np.testing.assert_allclose(scaled, found_by(norm, x, slope, wanted), atol=1e-4)
