"""`gauntlet runs`, `show` and `compare`, as a person and as a program read them."""

import datetime
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from past_runs import FIRST, SECOND, found_on, gate, summary_of, write_past_run
from PIL import Image
from rich.console import Console

from gauntlet.cli import main
from gauntlet.history.against import Against, GateImages
from gauntlet.history.picture import WIDTH, text_of
from gauntlet.history.runs import Runs, list_runs
from gauntlet.tables.against import against_table
from gauntlet.tables.run import print_summary
from gauntlet.tables.runs import age_of, runs_table
from pipeline.report.against import Pairs, write_pairs
from pipeline.root.root import IMAGES, SUMMARY, Root

FOUND, OTHER = found_on({0: "clean", 1: "pgd"}), found_on({number: "pgd" for number in range(9)})
NONE = gate("clean", True, images_against=0, ids=[])
GATES = [gate("worst_case", False), NONE, gate("served", True, images_against=None)]
GATES += [gate("champion_clean", True, images_against=None, not_compared="there is no champion")]


def pairs(n: int, channels: int = 1) -> Pairs:
    """The first images of `FOUND`."""
    texts = {
        name: np.array([getattr(each, name) for each in FOUND[:n]]) for name in FOUND[0]._fields
    }
    pixels = np.zeros((n, 8, 8, channels), np.uint8)
    return Pairs(
        attack=np.array(["clean", *["strongest@robust"] * (n - 1)]),
        attacked_prediction=texts["label"] + 1,
        clean=pixels,
        attacked=pixels + 200,
        **texts,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A run that pushed, and one that was refused, with the images that speak against it."""
    write_past_run(tmp_path, summary_of(FOUND), FOUND)
    refused = {"pushed": None, "gates": GATES, "class_names": ["a$b$", *"bcdefghij"]}
    folder = write_past_run(tmp_path, summary_of(OTHER, SECOND, **refused), OTHER, seed=3)
    write_pairs(folder / IMAGES, pairs(3), {"worst_case": [1, 0], "clean": []})
    return tmp_path


def run(root: Path, *arguments: str, code: int = 0) -> Any:
    command, *rest = arguments
    done = CliRunner().invoke(main, [command, "--root", str(root), *rest], env={"COLUMNS": "200"})
    assert done.exit_code == code, done.output
    return done


PROGRAM = """
import sys
from gauntlet.cli import main
try:
    main({arguments})
except SystemExit as end:
    assert not end.code
print(*{{"tensorflow", "tfx", "apache_beam", "ml_metadata"}} & sys.modules.keys())
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs"],
        ["show"],
        ["show", "latest", "--gate", "worst_case"],
        ["compare", FIRST, SECOND],
        ["compare", FIRST, SECOND, "--md"],
    ],
    ids=" ".join,
)
def test_results_are_read_without_tensorflow(arguments: list[str], root: Path) -> None:
    program = PROGRAM.format(arguments=[*arguments, "--root", str(root)])
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_runs_are_listed_in_80_columns(root: Path) -> None:
    (Root(root).results("20261128-000000-000000")).mkdir()
    (Root(root).results("20261128-000000-000000") / "log.txt").touch()
    done = CliRunner().invoke(main, ["runs", "--root", str(root)], env={"COLUMNS": "80"})
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    cells = [[cell.strip() for cell in line.split("│")] for line in lines if line.startswith("│")]
    names = [row[1] for row in cells if row[1].startswith("2026")]
    assert names == ["20261128-000000", "20261127-101112", "20261126-101112"]
    text = " ".join(done.output.split())
    for part in ("refused by", "worst_case", "pushed as version", "failed or", "55.00%", "1.5 min"):
        assert part in text


def test_nothing_is_cut_off_where_all_is_as_wide_as_it_gets(tmp_path: Path) -> None:
    found = found_on({}, proven=20)
    folder = write_past_run(tmp_path, summary_of(found, dataset="image_folder/f2d358eb2a379dd3"))
    (folder / "big").write_bytes(bytes(150 * 2**20))
    write_past_run(tmp_path, summary_of(found, FIRST.replace("000001", "000002")))
    done = CliRunner().invoke(main, ["runs", "--root", str(tmp_path)], env={"COLUMNS": "80"})
    lines = [line for line in done.output.splitlines() if line[0] in "│├"]
    assert {len(line) for line in lines} == {80}
    assert all(line[-1] in "│┤" for line in lines)
    for part in ("1.5 min, 150.0 MB", "100.00%", "pushed as", "version 7"):
        assert part in done.output


def test_runs_of_one_second_are_told_apart(tmp_path: Path) -> None:
    write_past_run(tmp_path, summary_of(FOUND))
    write_past_run(tmp_path, summary_of(FOUND, FIRST.replace("000001", "000002")))
    text = run(tmp_path, "runs").output
    assert FIRST in text
    assert FIRST.replace("000001", "000002") in text


def test_a_limit_says_what_it_leaves_out(root: Path) -> None:
    text = run(root, "runs", "--limit", "1").output
    assert "1 older ones are left out by --limit" in text
    assert "20261126" not in text


@pytest.mark.parametrize(
    ("seconds", "age"), [(59, "now"), (61, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
)
def test_the_age_of_a_run_is_in_its_largest_unit(root: Path, seconds: int, age: str) -> None:
    newest, *_ = list_runs(Root(root)).runs
    began = datetime.datetime.fromisoformat(newest.began)
    assert age_of(newest, began + datetime.timedelta(seconds=seconds)) == age


def test_a_root_without_runs_is_empty(tmp_path: Path) -> None:
    assert f"no run has been in {tmp_path} yet" in run(tmp_path, "runs").output
    assert "there is no run in" in run(tmp_path, "show", code=2).output
    done = run(tmp_path, "runs", "--json", str(tmp_path / "r.json"))
    assert json.loads((tmp_path / "r.json").read_text())["runs"] == [], done.output


def test_names_are_no_markup(root: Path) -> None:
    """As a folder of images may have any name."""
    write_past_run(root, summary_of(FOUND, "[red]x", dataset="/data/[bold]"))
    assert "[red]x" in run(root, "runs").output
    assert "/data/[bold]" in run(root, "runs").output


def test_the_tables_are_those_of_the_end_of_the_run(root: Path) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    summary, folder = (
        summary_of(OTHER, SECOND, pushed=None, gates=GATES),
        Root(root).results(SECOND),
    )
    print_summary(summary, folder, console)
    first, shown = run(root, "show").output.split("\n", 1)
    assert first == f"run {SECOND}, preset smoke"
    assert shown == console.export_text()


def test_the_json_of_a_run_is_its_summary(root: Path, tmp_path: Path) -> None:
    run(root, "show", FIRST, "--json", str(tmp_path / "s.json"))
    assert (tmp_path / "s.json").read_text() == (Root(root).results(FIRST) / SUMMARY).read_text()


def test_a_run_that_is_not_there_or_not_whole_is_named(root: Path) -> None:
    assert f"has no run 2025; there are {SECOND}" in run(root, "show", "2025", code=2).output
    told = run(root, "compare", "latst", "previos", code=2).output
    assert f"has no run latst: did you mean latest? there are {SECOND}" in told
    (Root(root).results(SECOND) / SUMMARY).unlink()
    assert "has no summary.json (failed or interrupted)" in run(root, "show", code=1).output
    assert "has no summary.json" in run(root, "compare", FIRST, "latest", code=1).output


def test_the_images_against_a_model_are_drawn_and_told(root: Path, tmp_path: Path) -> None:
    text = run(root, "show", "--gate", "worst_case", "--json", str(tmp_path / "g.json")).output
    picture = Root(root).results(SECOND) / "gate-worst_case.png"
    assert f"The picture is in {picture}" in text
    with Image.open(picture) as image:
        assert image.format == "PNG"
        assert image.size[0] > 1000
    found = json.loads((tmp_path / "g.json").read_text())
    assert found["schema"] == "gauntlet/gate/1"
    assert [each["id"] for each in found["images"]] == ["image-001", "image-000"]
    assert [each["attack"] for each in found["images"]] == ["pgd", "wrong without an attack"]
    assert "0 (a$b$)" in text
    assert "2 of 2 images against it" in text


def test_ids_are_whole_in_80_columns() -> None:
    ids = [f"test/circle/image-{number:012}.png" for number in range(3)]
    images = tuple(
        Against(id=each, label=0, prediction=1, attacked_prediction=2, attack="pgd-margin")
        for each in ids
    )
    found = GateImages(run_id=FIRST, gate=GATES[0], picture=None, images=images)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(against_table(found, ["a circle", "a cross", "a square"]))
    text = console.export_text()
    assert all(each in text for each in ids)
    assert max(map(len, text.splitlines())) <= 80


def test_the_classes_of_a_picture_are_whole() -> None:
    names = ["golden retriever", "labrador dog", "german shepherd"]
    image = Against(id="i" * 60, label=0, prediction=1, attacked_prediction=2, attack="pgd")
    first, *said = text_of(image, names).split("\n")
    assert said == ["true 0 (golden retriever)", "1 (labrador dog) | 2 (german shepherd)", "pgd"]
    assert len(first) == WIDTH


def test_a_picture_goes_where_it_is_wanted(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.png"
    run(root, "show", "--gate", "worst_case", "--output", str(file))
    assert file.is_file()
    assert "name a gate" in run(root, "show", "--output", str(file), code=2).output


def test_a_picture_of_a_root_that_may_only_be_read_goes_into_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(dir: str | Path | None = None) -> Any:
        if dir and Path(dir).is_relative_to(root / "results"):
            raise PermissionError(13, "Permission denied")
        return real(dir=dir)

    real = tempfile.TemporaryFile
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    run(root, "show", "--gate", "worst_case")
    assert (tmp_path / "gate-worst_case.png").is_file()


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("clean", 0, "No image speaks against the model there."),
        ("worst", 2, "was not judged by a gate worst; its gates are worst_case, clean, served"),
        ("served", 2, "is no question of single images"),
        ("champion_clean", 2, "has no images: not compared, there is no champion"),
    ],
)
def test_a_gate_without_images_says_why(root: Path, name: str, code: int, message: str) -> None:
    assert message in run(root, "show", "--gate", name, code=code).output


def test_images_that_are_not_there_are_missed(root: Path) -> None:
    file = Root(root).results(SECOND) / IMAGES
    write_pairs(file, pairs(1), {"clean": [0]})
    assert "has no image of the gate worst_case" in run(
        root, "show", "--gate", "worst_case", code=1
    ).output.replace("\n", " ")
    file.unlink()
    assert "an earlier version made the run" in run(
        root, "show", "--gate", "worst_case", code=1
    ).output.replace("\n", " ")


def test_coloured_images_are_drawn(root: Path) -> None:
    write_pairs(Root(root).results(SECOND) / IMAGES, pairs(9, 3), {"worst_case": [*range(9)]})
    assert "9 of 2" in run(root, "show", "--gate", "worst_case").output


def test_a_comparison_names_settings_numbers_gates_and_outcomes(root: Path) -> None:
    lines = run(root, "compare", FIRST, "latest").output.splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert ["seed", "null", "3"] in rows
    (worst,) = [row for row in rows if row[:1] == ["worst case"]]
    assert worst[1:4] == ["90.00% (68.30% to 98.77%)", "55.00% (31.53% to 76.94%)", "-35.00%"]
    assert worst[4] == "0.016 * (7 : 0)"
    assert ["worst_case", "passed", "refused"] in rows
    assert ["pushed as version 7", "refused by worst_case"] in rows


def test_a_comparison_for_github_has_the_same_cells(root: Path) -> None:
    text = run(root, "compare", FIRST, SECOND, "--md").output
    assert "| worst case | 90.00% (68.30% to 98.77%) | 55.00% (31.53% to 76.94%) |" in text
    assert "| worst\\_case | passed | refused |" in text
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("| ---"):
            assert line.count("|") == lines[place - 1].count("|") == lines[place + 1].count("|")


def test_names_do_not_end_a_cell_of_markdown(root: Path) -> None:
    write_past_run(root, summary_of(FOUND, "piped"), FOUND, data={"dataset": "a|b<i>"})
    assert "a\\|b\\<i>" in run(root, "compare", FIRST, "piped", "--md").output


def test_what_cannot_be_compared_says_so_and_gives_no_p(root: Path) -> None:
    write_past_run(root, summary_of(FOUND, "pets", dataset="pets"), FOUND)
    text = run(root, "compare", FIRST, "pets").output
    assert "The numbers are not comparable: the data sets are mnist and pets." in text
    assert " : " not in text.replace("A : only B", "")


def test_a_run_is_not_compared_with_itself(root: Path) -> None:
    assert "are the same run" in run(root, "compare", "latest", SECOND, code=2).output


def test_json_goes_to_a_pipe_without_tables(root: Path) -> None:
    program = "from gauntlet.cli import main; main()"
    command = [sys.executable, "-c", program, "compare", FIRST, SECOND, "--md"]
    command += ["--root", str(root), "--json", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["schema"] == "gauntlet/compare/1"
    assert "| worst case |" in done.stderr


def test_the_table_of_runs_survives_what_is_not_known(tmp_path: Path) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / "x" / "log.txt").touch()
    os.utime(tmp_path / "results" / "x", (time.time(),) * 2)
    listed: Runs = list_runs(Root(tmp_path))
    console.print(runs_table(listed, datetime.datetime.now(datetime.UTC)))
    assert "failed or" in console.export_text()
