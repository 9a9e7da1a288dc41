"""Fixtures that several test files of the trainer share."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import tf_keras
from small_training import MEDIOCRE, small_batch, small_network

from trainer.step import Batch
from trainer.validation import Scores, Validator


@pytest.fixture
def network() -> tf_keras.Model:
    return small_network()


@pytest.fixture
def batch() -> Batch:
    return small_batch()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """The weights of every validation, in which nothing is attacked: that takes most of a small
    training's time."""
    measured: list[list[np.ndarray]] = []

    def measure(self: Validator, weights: list[np.ndarray]) -> Scores:
        self.network.set_weights(weights)
        measured.append(weights)
        return MEDIOCRE

    monkeypatch.setattr(Validator, "measure", measure)
    return measured


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What the trainer logs."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("gauntlet.trainer")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logged
    logger.removeHandler(handler)
