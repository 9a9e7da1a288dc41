"""`gauntlet run --dry-run` foretells the run that follows, on real images; and runs that no model
can pass end before they begin."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gauntlet import cli

FEW = (
    "--preset", "smoke", "--set", "data.train=train[:1000]", "--set", "data.test=test[:100]",
    "--set", "trainer.epochs=1", "--set", "gates.clean=0.1", "--set", "gates.transfer_fgsm=0",
)  # fmt: skip


def gauntlet(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "gauntlet"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


def listing(root: Path) -> dict[str, tuple[int, float]]:
    found = {str(path): path.lstat() for path in root.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime) for path, stat in found.items()}


def plan(root: Path, *settings: str) -> dict[str, Any]:
    """The plan of a run, which leaves the root as it is."""
    file, before = root.parent / "plan.json", listing(root)
    done = gauntlet("run", *FEW, *settings, "--root", root, "--dry-run", "--json", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert listing(root) == before
    return dict(json.loads(file.read_text()))


def cached(nodes: dict[str, dict[str, Any]]) -> dict[str, bool]:
    return {name: node["cached"] for name, node in nodes.items()}


def ran(root: Path, *settings: str) -> dict[str, bool]:
    """By node, whether the run took it from the cache."""
    file = root.parent / "summary.json"
    done = gauntlet("run", *FEW, *settings, "--root", root, "--json", file)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return cached(json.loads(file.read_text())["nodes"])


@pytest.mark.e2e
def test_each_run_does_what_was_foretold(tmp_path: Path) -> None:
    root = tmp_path / "root"
    told = plan(root)
    assert not root.exists()
    assert told["champion"]["not_compared"] == "no model is served yet"
    assert not any(cached(told["nodes"]).values())
    ran(root)

    told = plan(root)
    assert told["champion"]["version"] in [path.name for path in (root / "serving").iterdir()]
    assert told["nodes"]["Trainer.robust"]["seconds"] > 0
    assert cached(told["nodes"]) == ran(root)

    told = plan(root)  # now with a champion that is known
    assert [name for name, node in told["nodes"].items() if not node["cached"]] == ["Pusher"]
    assert cached(told["nodes"]) == ran(root)

    for assignment, node, why in (
        ("gates.worst_case=0.01", "Evaluator", "gates.worst_case is 0.01, was 0.0"),
        (
            "attack.suite=autoattack",
            "AdversarialExampleGen",
            "attack.suite is autoattack, was fast",
        ),
        ("trainer.epochs=2", "Trainer.robust", "trainer.epochs is 2, was 1"),
        ("seed=1", "Trainer.undefended", "seed is 1, was 0"),
    ):
        told = plan(root, "--set", assignment, "--force", "--reason", "a test")
        assert told["nodes"][node]["why"].startswith(why), assignment
        assert cached(told["nodes"]) == ran(
            root, "--set", assignment, "--force", "--reason", "a test"
        )


def test_what_no_model_can_pass_ends_before_anything_is_computed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    settings = ["--set", "gates.required=square", "--set", "gates.worst_case=0.5"]
    for more in ([], ["--dry-run"]):
        arguments = ["run", "--preset", "smoke", *settings, "--root", str(root), *more]
        result = CliRunner().invoke(cli.main, arguments)
        assert result.exit_code == 2
        assert "gates.required asks for square, which attack.* leaves out" in result.stderr
        assert "--anyway" in result.stderr
    assert not root.exists()
