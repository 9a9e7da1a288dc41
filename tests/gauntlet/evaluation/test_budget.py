"""Work that ends at a point of time: what was finished stays, and nothing else is disturbed."""

import signal
import time

import pytest

from gauntlet.evaluation.budget import OutOfTime, until


def test_what_takes_longer_ends_at_the_deadline_with_what_was_finished() -> None:
    done, begin = [], time.monotonic()
    with until(time.time() + 0.2):
        while True:
            done.append(time.monotonic())
            time.sleep(0.02)
    assert 0.1 < time.monotonic() - begin < 5.0
    assert len(done) > 2


def test_an_end_that_nobody_hears_comes_again() -> None:
    """Python drops what is raised while it frees an object."""

    class Slow:
        def __del__(self) -> None:
            time.sleep(0.3)

    begin = time.monotonic()
    with until(time.time() + 0.1):
        Slow()
        while time.monotonic() < begin + 20.0:
            time.sleep(0.02)
    assert time.monotonic() - begin < 10.0


def test_no_handler_of_errors_takes_the_end_for_one() -> None:
    with until(time.time() + 0.05):
        while True:
            try:
                time.sleep(1.0)
            except Exception:
                pytest.fail("somebody went on")
    assert not issubclass(OutOfTime, Exception)


def test_a_deadline_that_is_over_leaves_no_time() -> None:
    begin = time.monotonic()
    with until(time.time() - 100.0):
        time.sleep(10.0)
    assert time.monotonic() - begin < 5.0


def test_what_ends_before_leaves_neither_timer_nor_handler() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with until(time.time() + 100.0):
        pass
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_errors_pass_through() -> None:
    with pytest.raises(KeyError), until(time.time() + 100.0):
        raise KeyError


def test_without_a_deadline_nothing_is_set() -> None:
    with until(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
