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


@pytest.fixture
def judge(model: Any) -> Judge:
    return Judge(model, ThreatModel(epsilon=EPSILON), STAGES, SHAPE)


@pytest.fixture
def kept(batch: Any, judge: Judge, tmp_path: Path) -> Path:
    """A file with the verdict on the batch."""
    kept_verdict(tmp_path / "kept.npz", batch, judge, 0, "key")
    return tmp_path / "kept.npz"


def test_what_agrees_is_read(
    batch: Any, judge: Judge, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Judge, "judge", lambda *_: pytest.fail("judged again"))
    kept_verdict(kept, batch, judge, 0, "key")
    with pytest.raises(pytest.fail.Exception):
        kept_verdict(kept, batch, judge, 0, "the key of another model")


def all_right(values: dict[str, Any]) -> None:
    values["prediction"] = values["label"].copy()
    values["broken_by"][:] = ""


def nothing_is_broken(values: dict[str, Any]) -> None:
    values["broken_by"][values["broken_by"] != "clean"] = ""


def everything_is_broken(values: dict[str, Any]) -> None:
    values["broken_by"][values["broken_by"] == ""] = "fgsm"


def other_labels(values: dict[str, Any]) -> None:
    values["label"] = (values["label"] + 1) % 3


def no_class(values: dict[str, Any]) -> None:
    values["prediction"][0] = 99


def pickled(values: dict[str, Any]) -> None:
    values["broken_by"] = values["broken_by"].astype(object)


def fewer(values: dict[str, Any]) -> None:
    values["broken_by"] = values["broken_by"][1:]


@pytest.mark.parametrize(
    "change",
    [all_right, nothing_is_broken, everything_is_broken, other_labels, no_class, pickled, fewer],
)
def test_what_disagrees_with_model_or_data_is_judged_again(
    batch: Any, judge: Judge, kept: Path, change: Any
) -> None:
    with np.load(kept) as columns:
        values = dict(columns)
    right = judge.judge(batch.x, batch.y, batch.ids, 0)
    assert set(right.broken_by) > {"", "clean"}, "there is something to lie about"
    change(values)
    np.savez(kept, **values)
    again = kept_verdict(kept, batch, judge, 0, "key")
    assert again.broken_by.tolist() == right.broken_by.tolist()
    assert again.prediction.tolist() == right.prediction.tolist()
    assert read_verdict(kept, "key") is not None, "it was written again"
