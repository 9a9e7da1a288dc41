"""Wrong usage of `gauntlet evaluate`, found before anything is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest


def command(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    gauntlet = str(Path(sys.executable).parent / "gauntlet")
    return subprocess.run(
        [gauntlet, "evaluate", *map(str, arguments)], cwd=cwd, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model", "--attacks", "fgsm,pdg"],
            "unknown attack 'pdg'; the attacks are fgsm, pgd, pgd-margin",
        ),
        (["model", "--epsilon", "-1"], "epsilon is a finite number >= 0"),
        (["model", "--attacks", "pgd,pgd"], "each attack is named once"),
        (["model", "--limit", "0"], "--limit"),
        (["gs://bucket/model"], "expected a local folder, got gs://bucket/model"),
    ],
)
def test_wrong_usage_ends_at_once(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
