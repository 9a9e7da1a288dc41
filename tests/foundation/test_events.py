"""Progress as log records."""

import logging

import pytest

from foundation.events import Progress


def test_progress_is_rate_limited_and_ends_at_the_total(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    progress = Progress("counting", 10_000)
    for done in range(10_001):
        progress.update(done)
    steps = [vars(record)["progress"] for record in caplog.records]
    assert steps[0] == (0, 10_000)
    assert steps[-1] == (10_000, 10_000)
    assert len(steps) < 10
