"""Deliveries of a user's own images on Kubeflow, up to the gate on the data: the second one is
compared with the first, which only the store remembers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rehearsal import Outcome, compiled, gauntlet, keep_tasks, submitted

pytestmark = pytest.mark.platforms

BEFORE_TRAINING = {
    "Parameters", "Data", "TfdsExampleGen", "StatisticsGen", "CuratedSchema", "ExampleValidator",
    "LastSpan", "Champion", "AnomalyGate",
}  # fmt: skip


def deliver(folder: Path, light: float, seed: int) -> dict[str, Any]:
    """Images of two classes, prepared for a cluster; light: scales their brightness."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", 200), ("test", 100)):
        for name in ("dark", "bright"):
            (folder / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.random((28, 28)) * rng.uniform(60, 120) * light
                Image.fromarray(pixels.astype(np.uint8)).save(
                    folder / "images" / split / name / f"{number}.png"
                )
    done = gauntlet(
        "prepare", "--dataset", folder / "images", "--data-dir", folder / "prepared",
        "--json", folder / "prepared.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((folder / "prepared.json").read_text()))


def submitted_with(file: Path, root: Path, span: int, delivery: dict[str, Any]) -> Outcome:
    """Submit a delivery, its data copied into the store."""
    prepared = delivery["prepared"]
    place = root / "minio" / "bucket" / f"span-{span}"
    shutil.copytree(prepared["directory"], place)
    values = {
        "data.span": span,
        "data_dataset": delivery["settings"]["data.dataset"],
        "data_uri": f"minio://bucket/span-{span}",
        "data_fingerprint": prepared["fingerprint"],
    }
    options = [f"--param={name}={value}" for name, value in values.items()]
    return submitted(file, root, *options)


def test_a_delivery_that_drifted_ends_the_run_before_training(tmp_path: Path) -> None:
    root, volume = tmp_path / "cluster", tmp_path / "volume"
    volume.mkdir()
    first = deliver(tmp_path / "1", light=1.0, seed=1)
    brighter = deliver(tmp_path / "2", light=1.6, seed=2)
    settings = {**first["settings"], "data.span": "1"}
    file = compiled(
        tmp_path / "pipeline.yaml", "--target", "kfp-v2", "--image", "registry/gauntlet:1",
        "--pipeline-root", "minio://bucket/f", "--volume", f"models:{volume}",
        "--data-uri", "minio://bucket/nothing", "--data-fingerprint", "none",
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
    )  # fmt: skip
    keep_tasks(file, BEFORE_TRAINING)
    passed = submitted_with(file, root, 1, first)
    assert passed.states["AnomalyGate"] == "finished", passed.text
    assert [span.name for span in (volume / "gauntlet" / "spans").iterdir()] == ["1"]
    drifted = submitted_with(file, root, 2, brighter)
    assert drifted.code == 4
    assert drifted.states["AnomalyGate"] == "failed"
    (log,) = root.glob(f"runs/{max(p.name for p in (root / 'runs').iterdir())}/AnomalyGate/log.txt")
    assert "compared with span 1" in log.read_text()
    assert "- feature brightness: drift" in log.read_text()
    assert [span.name for span in (volume / "gauntlet" / "spans").iterdir()] == ["1"]
