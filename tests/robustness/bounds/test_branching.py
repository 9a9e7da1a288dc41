"""Branch and bound: against a fine grid, and where it gives up."""

import numpy as np
import pytest
from bounded_networks import (
    CLASSES,
    SHAPE,
    TINY,
    convolutions,
    images,
    margins_at,
    network,
    predictions,
    tiny_network,
)

from robustness.bounds import branching
from robustness.bounds.certifier import Certifier


def test_branch_and_bound_decides_what_a_fine_grid_decides() -> None:
    """Catches a wrong sign of a multiplier or a case that is lost (proves too much), and splits
    without effect."""
    model, _ = tiny_network(2, hidden=(6, 5))
    random = np.random.default_rng(0)
    x = random.uniform(size=(60, *TINY)).astype(np.float32)
    y, epsilon = predictions(model, x), 0.4
    other = (y + random.integers(1, 3, len(y))) % 3
    certifier = Certifier(model, TINY, epsilon)
    bounds, alpha = (
        certifier.branching_margins(x, y, other),
        certifier.alpha_crown_margins(x, y, other),
    )
    steps = np.linspace(-epsilon, epsilon, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, *TINY)
    lowest = np.array(
        [
            margins_at(model, np.clip(one + grid, 0, 1), np.full(len(grid), true))[:, wrong].min()
            for one, true, wrong in zip(x, y, other, strict=True)
        ]
    )
    assert np.all(bounds <= lowest)
    clear = np.abs(lowest) > 0.03
    np.testing.assert_array_equal(bounds[clear] > 0, lowest[clear] > 0)
    by_branching = (bounds > 0) & (alpha <= 0)
    assert by_branching.sum() >= 5, "alpha-CROWN proves all: the test sees nothing"
    assert (lowest[clear] < 0).sum() >= 5, "all is provable: the test sees nothing"


def test_branch_and_bound_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(convolutions), images()
    y = predictions(model, x)
    monkeypatch.setattr(branching, "DOMAINS", 8)
    certifier = Certifier(model, SHAPE, 0.2)
    assert np.isneginf(certifier.branching_margins(x, y, (y + 1) % CLASSES)).any()
