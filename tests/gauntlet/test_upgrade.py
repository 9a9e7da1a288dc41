"""A root that 0.1.0 left, made by its own code (tests/support/root_0_1_0/make): what this version
lists, shows, serves and rolls back of it, and what a new run is told."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from components.bound import bound_by
from components.mandate import Mandate
from gauntlet.cli import main
from gauntlet.terms import agreed
from pipeline.definition.presets import preset
from pipeline.root.root import Root

ARCHIVE = Path(__file__).parents[1] / "support" / "root_0_1_0" / "root.tar.xz"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Two runs on 60 test images, each with a pushed version."""
    folder = tmp_path_factory.mktemp("upgraded")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return Root(folder / "root")


def run(root: Root, *arguments: str, code: int = 0) -> str:
    command, *rest = arguments
    given = [command, "--root", str(root), *rest]
    done: Any = CliRunner().invoke(main, given, env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return str(done.output)


def versions(root: Root) -> list[str]:
    return sorted(path.name for path in root.serving.iterdir() if path.name.isdigit())


def test_its_versions_are_listed_with_their_numbers(root: Root) -> None:
    text = run(root, "models")
    first, second = versions(root)[:2]
    assert f"{first}: files not verified: no manifest" in text
    assert f"{second}: serving; files not verified: no manifest" in text
    assert text.count("%") >= 6


def test_its_runs_are_listed_with_what_they_pushed(root: Root, tmp_path: Path) -> None:
    run(root, "runs", "--json", str(tmp_path / "runs.json"))
    listed = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [each["version"] for each in listed] == versions(root)[1::-1]
    assert {each["state"] for each in listed} == {"pushed"}
    assert all(0 < each["clean"] < 1 and each["epsilon"] == 0.2 for each in listed)


def test_its_runs_are_shown_and_compared(root: Root) -> None:
    shown = run(root, "show")
    assert "left by pgd (20 steps)" in shown
    assert "Accuracy on 60 test images, linf, epsilon 0.2, seed 2" in shown
    newest, oldest = sorted((path.name for path in root.results("").iterdir()), reverse=True)
    compared = run(root, "compare", oldest, newest)
    assert "gates.champion" in compared
    assert "has no examples.csv" in compared
    told = " ".join(run(root, "show", "--gate", "worst_case", code=1).split())
    assert "images.npz: an earlier version made the run" in told


def test_its_summary_is_read_whole(root: Root, tmp_path: Path) -> None:
    """What `show --json` writes has all that the old file has."""
    run(root, "show", "--json", str(tmp_path / "s.json"))
    written = json.loads((tmp_path / "s.json").read_text())
    old = json.loads((root.results(written["run_id"]) / "summary.json").read_text())
    assert "schema" not in old
    for gate, before in zip(written["gates"], old.pop("gates"), strict=True):
        assert gate == gate | before
    assert written == written | old


@pytest.mark.slow
def test_its_newest_version_answers_and_an_older_one_is_served_again(
    root: Root, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "digit.png")
    first, second = versions(root)[:2]
    assert f"Version {second}" in run(root, "predict", str(tmp_path / "digit.png"))
    told = run(root, "rollback", "--reason", "too weak", code=2)
    assert f"{first} (no manifest), {second} (no manifest)" in told
    told = run(root, "rollback", first, "--reason", "too weak")
    assert "was pushed before there were manifests" in " ".join(told.split())
    *_, third = versions(root)
    assert f"version {third} is served: back to version {first}" in told
    listed = run(root, "models")
    assert f"{third}: serving; back to version {first}" in listed
    assert f"Version {third}" in run(root, "predict", str(tmp_path / "digit.png"))


def test_a_new_run_may_push_into_it_and_binds_it(root: Root) -> None:
    """It has no terms yet: nothing is weaker than what nobody has written down."""
    assert bound_by(str(root.serving)) is None
    config, notes = agreed(root, preset("smoke"), Mandate())
    assert config == preset("smoke")
    (note,) = notes
    assert note.startswith("nothing says yet what the models in ")
    assert note.endswith("are for: the next push binds it")
