"""What log records tell of the work, and how often."""

import logging

import pytest

from foundation.events import Progress, fields_of, phase


def test_progress_is_rate_limited_and_ends_at_the_total(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    progress = Progress("counting", 10_000)
    for done in range(10_001):
        progress.update(done)
    steps = [fields_of(record)["progress"] for record in caplog.records]
    assert steps[0] == (0, 10_000)
    assert steps[-1] == (10_000, 10_000)
    assert len(steps) < 10


@pytest.mark.parametrize("state", ["finished", "cached", "failed"])
def test_a_phase_tells_its_beginning_and_its_end(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    try:
        with phase("Trainer") as step:
            if state == "failed":
                raise KeyboardInterrupt
            if state == "cached":
                step.state = "cached"
    except KeyboardInterrupt:
        assert state == "failed"
    begin, end = map(fields_of, caplog.records)
    assert begin == {"node": "Trainer", "state": "started"}
    assert end == {"node": "Trainer", "state": state, "seconds": step.seconds}
    assert caplog.messages == ["Trainer started", f"Trainer {state} after 0.0 s"]


def test_other_attributes_of_a_record_are_no_fields() -> None:
    assert fields_of(logging.makeLogRecord({"msg": "text", "advance": 3})) == {"advance": 3}
