"""Published numbers: open gates, and one set of figures in the stored results, the Markdown and the
docstrings of the presets."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import preset_seeds
import pytest
from click.testing import CliRunner
from preset_seeds import RESULTS, measure_seed, open_gates

from components.evaluator.asked import ALWAYS, gates
from pipeline.definition.config import override
from pipeline.definition.presets import PRESETS, preset

ROOT = RESULTS.parents[1]
STORED = json.loads(RESULTS.read_text())
COLUMNS = {
    "training, minutes": "minutes",
    "clean": "robust.clean",
    "worst case": "robust.worst_case",
    "AutoAttack": "robust.worst_case",
    "certified": "robust.certified",
}
"""Headers of tables with a preset a row, and the figures below them."""

TUTORIAL = {
    "clean": "clean",
    "FGSM made against the other": "transfer.fgsm",
    "the strongest image made against the other": "transfer.strongest",
    "FGSM made against itself": "white_box.fgsm",
    r".*\bPGD\b": "white_box.pgd",
    r".*\bAPGD-CE\b": "white_box.apgd-ce",
    "worst case": "worst_case",
    "certified": "certified",
}
"""How the rows of the tutorial's table begin, and the figures in them; the last match counts."""

SAID = {"clean": "clean", "in the worst case": "worst_case", "certified": "certified"}
"""What follows a figure of the robust model in a docstring."""


def rows() -> Iterator[dict[str, str]]:
    """Rows of all tables of the documents, by header."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for block in re.findall(r"(?:^\|.*\n)+", path.read_text(), re.MULTILINE):
            header, _, *lines = map(cells, block.splitlines())
            yield from (dict(zip(header, line, strict=True)) for line in lines)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d+|\d+(?= %)", cell)]


def same(shown: list[float], stored: list[float]) -> bool:
    """A single number is the mean; three are the mean and, in brackets, the range."""
    low, mean, high = stored
    return shown == ([mean] if len(shown) == 1 else [mean, low, high])


def test_tables_of_presets_show_what_is_stored() -> None:
    found = set()
    for row in rows():
        first = re.match(r"(?:preset )?`(\w+)`", next(iter(row.values())))
        if first is None or first[1] not in STORED or "certified" not in row:
            continue
        figures = STORED[first[1]]["figures"]
        for header, figure in COLUMNS.items():
            if shown := numbers(row.get(header, "")):
                assert same(shown, figures[figure]), (row, figure)
                found.add((first[1], figure))
        if "epsilon" in row:
            assert float(row["epsilon"]) == preset(first[1]).threat.epsilon
    assert found == {
        (name, figure) for name in ("robust", "record", "fashion") for figure in COLUMNS.values()
    }


def test_the_table_of_the_tutorial_shows_what_is_stored() -> None:
    stored, found = STORED["tutorial"]["figures"], set()
    for row in rows():
        if not {"images", "undefended", "robust"} <= set(row):
            continue
        (*_, figure) = (name for start, name in TUTORIAL.items() if re.match(start, row["images"]))
        for model in ("undefended", "robust"):
            assert same(numbers(row[model]), stored[f"{model}.{figure}"]), (row, model)
            found.add(f"{model}.{figure}")
    assert found == set(stored)


@pytest.mark.parametrize("name", list(PRESETS))
def test_docstrings_of_presets_say_what_is_stored(name: str) -> None:
    text = " ".join((PRESETS[name].__doc__ or "").split())
    assert f"`gauntlet run --preset {name}`" in text
    stored = STORED[name]["figures"]
    for words, figure in SAID.items():
        if mean := stored.get(f"robust.{figure}", [0.0, 0.0])[1]:
            said = re.findall(rf"([\d.]+) % {words}", text)
            assert mean in map(float, said), (name, words)


def test_every_preset_has_a_stored_result_and_its_command() -> None:
    assert list(STORED) == list(PRESETS)
    for name, result in STORED.items():
        assert name in result["command"]
        assert all(low <= mean <= high for low, mean, high in result["figures"].values())


@pytest.mark.parametrize("name", list(PRESETS))
def test_no_gate_is_left_that_a_measurement_could_miss(name: str) -> None:
    left = gates(override(preset(name), open_gates()).gates)
    assert {gate.name: gate.bound for gate in left if gate.name != "served"} == dict.fromkeys(
        ALWAYS, 0.0
    )


def test_a_refusal_is_a_result_and_a_failure_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {"robust": {"clean": 0.5, "worst_case": 0.25, "certified": 0.0}}
    summary = {"nodes": {"Trainer.robust": {"seconds": 90}}, "models": models}

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        code = 1 if "seed=1" in " ".join(command) else 3
        if code == 3:
            Path(command[-1]).write_text(json.dumps(summary))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(preset_seeds, "RESULTS", tmp_path / "results.json")
    preset_seeds.RESULTS.write_text("{}")
    arguments = ["smoke", "--folder", str(tmp_path), "--seeds"]
    done = CliRunner().invoke(preset_seeds.main, [*arguments, "0"], catch_exceptions=False)
    assert "| 0 | 1.50 | 50.00 | 25.00 | 0.00 |" in done.output
    figures = json.loads(preset_seeds.RESULTS.read_text())["smoke"]["figures"]
    assert figures["robust.worst_case"] == [25.0, 25.0, 25.0]
    with pytest.raises(subprocess.CalledProcessError):
        measure_seed("smoke", 1, tmp_path)
