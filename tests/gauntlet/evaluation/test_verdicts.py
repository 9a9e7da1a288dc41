"""Verdicts on disk, checked when they are read."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tf_keras
from small_classifier import EPSILON, STAGES, some_images, trained_model
from small_world import SHAPE

from foundation.errors import RunError
from gauntlet.evaluation.verdicts import joined, kept_verdict, read_verdict
from robustness.config import ThreatModel
from robustness.evaluation import Judge


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


def test_what_was_written_is_checked_when_it_is_read(
    model: Any, batch: Any, tmp_path: Path
) -> None:
    judge = Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)
    found = kept_verdict(tmp_path / "v.npz", batch, judge, 0)
    assert np.array_equal(joined([found]).broken_by, found.broken_by)
    with np.load(tmp_path / "v.npz") as columns:
        values = dict(columns)
    values["x_adv"][0] += 0.5
    np.savez(tmp_path / "v.npz", **values)
    with pytest.raises(RunError, match="1 attacked images that were read back lie outside"):
        kept_verdict(tmp_path / "v.npz", batch, judge, 0)
    (tmp_path / "v.npz").write_bytes(b"nonsense")
    assert read_verdict(tmp_path / "v.npz") is None
