"""The first hour of README, as a reader has it: every line in order, in one shell, from an empty
clone. Lines that train for long say what they would do (`--dry-run`)."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def lines() -> list[str]:
    """The commands of the section, with their comments."""
    section = README.partition("## First run\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def in_test(line: str) -> tuple[str, int]:
    """What the test runs in place of a line, and the exit code that the line promises."""
    command, _, comment = line.partition("#")
    code = re.search(r"exit code (\d)", comment)
    command = command.strip()
    if command.startswith("git clone"):
        command = f"git clone -q '{ROOT}' gauntlet"
    if command.startswith("gauntlet run") and not command.startswith("gauntlet runs"):
        command += "" if "--preset smoke" in command else " --dry-run"
    return command, int(code[1]) if code else 0


def test_the_first_lines_are_a_clone_an_install_and_a_run_of_a_minute() -> None:
    programs = [" ".join(line.split()[:2]) for line in lines()[:5]]
    assert programs[0] == "git clone"
    assert programs[2:4] == ["make install", "source .venv/bin/activate"]
    assert lines()[4].startswith("gauntlet run --preset smoke --root ")


@pytest.mark.e2e
def test_every_line_works_after_the_ones_before(tmp_path: Path) -> None:
    steps = [in_test(line) for line in lines()]
    script = "\n".join(f'{command}\necho "CODE $?" >&2' for command, _ in steps)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "PYTHON"))}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3000,
    )
    codes = [int(code) for code in re.findall(r"^CODE (\d+)$", done.stderr, re.MULTILINE)]
    found = list(zip((command for command, _ in steps), codes, strict=True))
    assert found == steps, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Pushed as version " in done.stdout, "what became of the model"
