"""The first hour of README, as a reader has it: every line in order, in one shell, from an empty
clone. Lines that train for long say what they would do (`--dry-run`). After it the pages of docs/,
in the order in which README names them: their commands that look at a root or at settings. That the
others can be called like this is in `test_documents`; what they do, in the tests of each."""

import itertools
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

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


QUICK = ("clean", "compare", "completion", "config", "gates", "init", "models", "predict", "runs",
         "show")  # fmt: skip
"""Commands of the pages that are called: they train and attack nothing."""

EXAMPLES = {
    "20261127-1432": "previous",
    "20261128-0459": "latest",
    "worst_class": "worst_case",  # which smoke does not ask for
    "pets": "../pets",
    "digit.png": "../digit.png",
}
"""What stands in the pages for something of the reader's, and what is taken for it."""


def of_pages() -> list[tuple[str, int]]:
    """The commands of the pages, and their exit codes."""
    found = []
    for page in re.findall(r"\]\((docs/[a-z]+\.md)\)", README.partition("## More\n")[2]):
        blocks = re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
        for line in (line for block in blocks for line in block.splitlines()):
            command = line.partition(" #")[0].strip()
            words = command.split()
            if words[:1] != ["gauntlet"] or words[1] not in QUICK or "gs://" in command:
                continue
            for name, own in EXAMPLES.items():
                command = re.sub(rf"(\./)?\b{re.escape(name)}(?=\s|$)", own, command)
            found.append((command, 0))
    return found


@pytest.mark.e2e
def test_every_line_works_after_the_ones_before(tmp_path: Path) -> None:
    hour = [in_test(line) for line in lines()]
    # The checks have kept their verdicts in runs/, where a run of the long preset would be now.
    there = [("rm -r runs && ln -s runs-smoke runs", 0), ("rm -f gauntlet.toml gates.toml", 0)]
    steps = [*hour, *there, *of_pages()]
    pictures(tmp_path)
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


def pictures(folder: Path) -> None:
    """A digit, and a folder of images."""
    write_png(folder / "digit.png", np.zeros((28, 28), np.uint8))
    draw = np.random.default_rng(0)
    for split, name in itertools.product(("train", "test"), ("cat", "dog")):
        for number in range(30):
            pixels = draw.integers(0, 256, (16, 16, 3), np.uint8)
            write_png(folder / "pets" / split / name / f"{number}.png", pixels)


def write_png(file: Path, pixels: npt.NDArray[np.uint8]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)
