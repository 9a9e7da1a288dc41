"""Names with `[`, `*`, `?`: refused for folders in which libraries look for files, opened
everywhere else."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from click.testing import CliRunner

from gauntlet.cli import main

SHAPE = (8, 8, 1)


@pytest.mark.parametrize(
    ("option", "arguments"),
    [
        ("--root", ["run", "--preset", "smoke", "--root"]),
        ("--data-dir", ["run", "--preset", "smoke", "--data-dir"]),
        ("--data-dir", ["prepare", "--data-dir"]),
        ("--data-dir", ["evaluate", "model.keras", "--data-dir"]),
        ("--root", ["submit", "pipeline.yaml", "--target", "local", "--root"]),
        ("the root", ["models", "--root"]),
        ("the root", ["rollback", "--root"]),
        ("the root", ["predict", "image.png", "--root"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
@pytest.mark.parametrize("name", ["w*y", "w[1]", "w?", "w\\y"])
def test_a_folder_in_which_libraries_look_is_no_pattern(
    option: str, arguments: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, [*arguments, name])
    assert done.exit_code == 2
    assert f"{option} {tmp_path / name}: TensorFlow and Beam take" in done.stderr
    assert "name a folder without [ ] * ?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_default_root_of_such_a_folder_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "project [old]").mkdir()
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, ["run", "--preset", "smoke"])
    assert done.exit_code == 2
    assert f"--root {folder}/runs: TensorFlow and Beam take '['" in done.stderr


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(("dark*", "light [x]")):
            (folder / split / name).mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(100 * label, 100 * label + 99, SHAPE, dtype=np.uint8)
                png = tf.io.encode_png(pixels).numpy()
                (folder / split / name / f"{number}?.png").write_bytes(png)


def classifier(bias: float) -> tf_keras.Model:
    """Right on `write_images` with a bias of 0.39, always the first class with one of 9."""
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    half = np.ones((64, 1), np.float32) / 64
    model.layers[-1].set_weights([np.hstack([-half, half]), np.array([bias, -bias], np.float32)])
    return model


def test_models_images_and_outputs_of_such_names_are_what_is_used(tmp_path: Path) -> None:
    """Beside each model lies one that its name would match as a pattern."""
    images, output = tmp_path / "pets [2026]*", tmp_path / "out [?]"
    write_images(images)
    for name, bias in (("m*y", 0.39), ("mQy", 9.0), ("net[1].keras", 0.39), ("net1.keras", 9.0)):
        classifier(bias).save(tmp_path / name)
    for name in ("m*y", "net[1].keras"):
        done = subprocess.run(
            [str(Path(sys.executable).parent / "gauntlet"), "evaluate", name,
             "--dataset", str(images), "--data-dir", "prepared", "--attacks", "fgsm",
             "--epsilon", "0.01", "--no-checks", "--output", str(output), "--json", "out[1].json"],
            cwd=tmp_path, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        content = json.loads((tmp_path / "out[1].json").read_text())
        (result,) = content["results"]
        assert (result["clean"], result["examples"]) == (1.0, 16)
        assert Path(content["folder"]).parent == output
