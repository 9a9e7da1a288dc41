"""Names with `[`, `*`, `?`: refused for folders in which libraries look for files, opened
everywhere else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bright_images import classifier, write_images
from click.testing import CliRunner

from gauntlet.cli import main


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


def test_models_images_and_outputs_of_such_names_are_what_is_used(tmp_path: Path) -> None:
    """Beside each model lies one that its name would match as a pattern."""
    images, output = tmp_path / "pets [2026]*", tmp_path / "out [?]"
    write_images(images, ("dark*", "light [x]"))
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
