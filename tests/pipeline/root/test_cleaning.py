"""What `gauntlet clean` removes of a root, what stays, and what TFX's cache makes of it."""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from filelock import FileLock
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tiny_pipeline import models, push, tiny_run, write

from components.changes import Change, signed
from components.journal import read
from components.pusher import publish
from components.versions import Card
from foundation.errors import ConfigError, RunError
from gauntlet.cli import main
from pipeline.root import cleaning
from pipeline.root.blessings import change
from pipeline.root.cleaning import LOG_BYTES, Cleaned, Cleaning, clean
from pipeline.root.keeping import Keep
from pipeline.root.metadata import RunOutputs
from pipeline.root.root import Root

YESTERDAY = time.time() - 86400 - 60


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Root(tmp_path / "root")


def cleaned(root: Root, keep: int = 1, **more: Any) -> Cleaned:
    return clean(Cleaning(root=root, keep=Keep(number=keep), **more))


def aged(path: Path) -> Path:
    """A file or a folder that was written the day before."""
    for each in (path, *path.rglob("*")):
        os.utime(each, (YESTERDAY, YESTERDAY), follow_symlinks=False)
    return path


def tree(root: Root) -> set[str]:
    return {str(path.relative_to(root.folder)) for path in root.folder.rglob("*")} - {".lock"}


def test_a_run_afterwards_computes_what_is_gone_and_nothing_else(root: Root) -> None:
    assert tiny_run(root, "run-1", setting=1) == {"Data", "Train", "Judge"}
    assert tiny_run(root, "run-2", setting=2) == {"Train", "Judge"}
    assert cleaned(root).marked == 2
    assert models(root) == ["2 on 0"]
    assert tiny_run(root, "run-3", setting=2) == set()
    assert tiny_run(root, "run-4", setting=1) == {"Train", "Judge"}
    assert models(root) == ["1 on 0", "2 on 0"]


def test_what_a_kept_run_took_from_the_cache_of_an_old_one_stays(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    assert tiny_run(root, "run-3", setting=1) == set()
    cleaned(root)
    assert models(root) == ["1 on 0"]
    assert tiny_run(root, "run-4", setting=1) == set()


def test_an_artifact_that_is_removed_is_marked_so(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    cleaned(root)
    with root.metadata() as store:
        states = [each.state for each in store.get_artifacts_by_type("Model")]
    assert states == [mlmd.Artifact.DELETED, mlmd.Artifact.LIVE]


def test_what_is_asked_of_a_run_that_was_removed_is_told_so(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    cleaned(root)
    with root.metadata() as store, pytest.raises(RunError, match="has removed what run run-1 made"):
        RunOutputs(store, "run-1").artifact("Train", "model")


def test_models_in_production_stay_and_so_does_what_they_push(root: Root) -> None:
    tiny_run(root, "blessed", setting=1, good=1)
    tiny_run(root, "withdrawn", setting=2, good=1)
    with root.metadata() as store:
        blessing = max(store.get_artifacts_by_type("ModelBlessing"), key=lambda each: each.id)
        change(blessing, Change.WITHDRAWN, signed("worse"))
        store.put_artifacts([blessing])
    tiny_run(root, "pushed", setting=3)
    version = push(root, "pushed")
    tiny_run(root, "refused", setting=4)
    tiny_run(root, "newest", setting=5)
    cleaned(root)
    assert models(root) == ["1 on 0", "2 on 0", "3 on 0", "5 on 0"]
    assert (root.serving / version / "saved_model.pb").read_text() == "3 on 0"
    assert (root.results("pushed") / "attacked.png").exists()


def test_a_damaged_card_stops_nothing(root: Root) -> None:
    tiny_run(root, "run-1", setting=1, good=1)
    version = push(root, "run-1")
    (root.serving / version / "assets.extra" / "gauntlet.json").write_text("{")
    tiny_run(root, "run-2", setting=2)
    cleaned(root)
    assert models(root) == ["1 on 0", "2 on 0"]


def test_failed_runs_do_not_push_out_the_last_good_one(root: Root) -> None:
    tiny_run(root, "good", setting=1)
    for number in range(2, 5):
        tiny_run(root, f"run-{number}", setting=number)
        (root.results(f"run-{number}") / "summary.json").unlink()
    found = cleaned(root)
    assert found.runs == ("good", "run-4")
    assert models(root) == ["1 on 0", "4 on 0"]
    assert not root.results("run-2").exists()


def test_of_the_results_of_an_old_run_the_small_ones_stay(root: Root) -> None:
    tiny_run(root, "old", setting=1)
    tiny_run(root, "new", setting=2)
    cleaned(root)
    left = {
        run: sorted(file.name for file in root.results(run).iterdir()) for run in ("old", "new")
    }
    assert left["old"] == ["config.json", "schema.pbtxt", "summary.json"]
    assert len(left["new"]) == 5


def test_what_is_younger_than_asked_for_stays(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    before = tree(root)
    hour = Keep(number=1, older_than=datetime.timedelta(hours=1))
    assert clean(Cleaning(root=root, keep=hour)).removed == ()
    assert tree(root) == before


def test_a_dry_run_says_the_same_and_changes_nothing(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    before = tree(root)
    said = cleaned(root, dry_run=True)
    assert tree(root) == before
    assert tiny_run(root, "run-1b", setting=1) == set()
    shutil.rmtree(root.results("run-1b"))
    tiny_run(root, "run-2b", setting=2)
    shutil.rmtree(root.results("run-2b"))
    done = cleaned(root)
    assert [each.path for each in done.removed] == [each.path for each in said.removed]
    assert done.size == said.size > 0
    assert cleaned(root).removed == ()


@pytest.mark.parametrize("calls", range(8))
def test_a_clean_that_is_killed_is_completed_by_the_next(
    root: Root, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    done = 0

    def dies(name: str) -> Any:
        original = getattr(cleaning, name)

        def step(*arguments: Any) -> Any:
            nonlocal done
            if done == calls:
                raise KeyboardInterrupt
            done += 1
            return original(*arguments)

        return step

    with monkeypatch.context() as killed:
        for name in ("_remove", "_mark"):
            killed.setattr(cleaning, name, dies(name))
        try:
            cleaned(root)
        except KeyboardInterrupt:
            assert tiny_run(root, "run-3", setting=2) == set()
    cleaned(root)
    assert models(root) == ["2 on 0"]
    assert tiny_run(root, "run-4", setting=1) == {"Train", "Judge"}


def test_what_was_marked_and_not_removed_goes_with_any_other_number(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    with root.metadata() as store:
        first = min(store.get_artifacts_by_type("Model"), key=lambda each: each.id)
        first.state = mlmd.Artifact.DELETED
        store.put_artifacts([first])
    cleaned(root, keep=9)
    assert models(root) == ["2 on 0"]


def test_what_a_killed_run_wrote_goes(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    with root.metadata() as store:
        (execution,) = [e for e in store.get_executions() if "Train" in node_of(store, e)]
        killed = mlmd.Execution(type_id=execution.type_id, last_known_state=mlmd.Execution.RUNNING)
        (number,) = store.put_executions([killed])
    write(str(root.artifacts / "Train" / "model" / str(number)), "half", "half")
    write(str(root.artifacts / "Train" / ".system" / "executor_execution" / "9"), "tmp", "half")
    cleaned(root)
    assert not (root.artifacts / "Train" / "model" / str(number)).exists()
    assert not (root.artifacts / "Train" / ".system" / "executor_execution" / "9").exists()
    with root.metadata() as store:
        (state,) = (e.last_known_state for e in store.get_executions_by_id([number]))
    assert state == mlmd.Execution.FAILED
    assert models(root) == ["1 on 0"]


def node_of(store: Any, execution: Any) -> str:
    return " ".join(each.name for each in store.get_contexts_by_execution(execution.id))


def test_checkpoints_of_trainings_before_the_kept_runs_go(root: Root) -> None:
    folder = root.artifacts / ".checkpoints"
    write(str(folder / "old"), "state.json", "{}")
    aged(folder)
    tiny_run(root, "run-1", setting=1)
    write(str(folder / "new"), "state.json", "{}")
    cleaned(root)
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_foreign_files_stay_and_are_named(root: Root, tmp_path: Path) -> None:
    for number in (1, 2):
        tiny_run(root, f"run-{number}", setting=number)
    own = (
        "notes.txt", "artifacts/mine.txt", "artifacts/Train/model/mine/x",
        "results/run-1/my.csv", "results/mine/x",
    )  # fmt: skip
    for name in own:
        write(str(root.folder), name, "mine")
    found = cleaned(root)
    assert all((root.folder / name).exists() for name in own)
    assert {str(path.relative_to(root.folder)) for path in found.unknown} == {
        "notes.txt", "artifacts/mine.txt", "artifacts/Train/model/mine", "results/run-1/my.csv",
        "results/mine",
    }  # fmt: skip


def test_no_link_is_followed_out_of_the_root(root: Root, tmp_path: Path) -> None:
    tiny_run(root, "run-1", setting=1)
    (first,) = (root.artifacts / "Train" / "model").iterdir()
    tiny_run(root, "run-2", setting=2)
    outside = tmp_path / "outside"
    shutil.move(first, outside / first.name)
    write(str(outside / "batch"), "batch-00000-10.npz", "x")
    write(str(outside / "run"), "log.txt", "x")
    first.symlink_to(outside / first.name)
    (root.artifacts / "Elsewhere").symlink_to(outside)
    root.evaluations.mkdir()
    (root.evaluations / "model-1").symlink_to(outside)
    (root.results("linked")).symlink_to(outside / "run")
    (root.artifacts / ".checkpoints").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    aged(outside)
    cleaned(root)
    assert sorted(outside.rglob("*")) == before
    assert not first.is_symlink()


def test_of_an_evaluation_the_results_stay(root: Root) -> None:
    for name in ("old-1", "new-2"):
        folder = root.evaluations / name / "linf-0.2-abcd"
        for file in ("batch-00000-10.npz", "checks-10.json", "examples.csv"):
            write(str(folder), file, "x")
        write(str(root.evaluations / name), "results.json", "{}")
        write(str(folder), ".batch-00001-10.npz.0123456789abcdef0123456789abcdef.partial.npz", "x")
        if name == "old-1":
            aged(root.evaluations / name)
    assert cleaned(root).runs == ()  # a folder of evaluations alone is a root too
    left = {str(path.relative_to(root.evaluations)) for path in root.evaluations.rglob("*.*")}
    assert {name for name in left if name.startswith("old")} == {
        "old-1/results.json", "old-1/linf-0.2-abcd", "old-1/linf-0.2-abcd/checks-10.json",
        "old-1/linf-0.2-abcd/examples.csv",
    }  # fmt: skip
    assert len([name for name in left if "batch" in name]) == 2


def test_unfinished_pushes_go_and_the_end_of_a_long_log_stays(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    write(str(root.serving / ".staging-1"), "saved_model.pb", "x")
    root.log.write_text("x" * LOG_BYTES + "the end")
    cleaned(root)
    assert not [*root.serving.glob(".staging*")]
    assert root.log.stat().st_size == LOG_BYTES
    assert root.log.read_text().endswith("xthe end")


def test_others_push_while_files_are_removed(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    remove, removed = cleaning._remove, []

    def slow(each: cleaning.LeftOver) -> None:
        root.serving.mkdir(exist_ok=True)
        with FileLock(root.serving / ".lock", timeout=0):
            removed.append(each.what)
        remove(each)

    monkeypatch.setattr(cleaning, "_remove", slow)
    cleaned(root)
    assert {*removed} == {"artifacts", "results"}


def test_what_others_pushed_meanwhile_stays(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    remove, pushed = cleaning._remove, []

    def slow(each: cleaning.LeftOver) -> None:
        if not pushed:
            with root.metadata() as store:
                first = min(store.get_artifacts_by_type("Model"), key=lambda each: each.id)
            card = Card(model=first.uri, model_id=first.id, run_id="run-1")
            pushed.append(publish(f"{first.uri}/Format-Serving", str(root.serving), card))
        remove(each)

    with monkeypatch.context() as patch:
        patch.setattr(cleaning, "_remove", slow)
        with pytest.raises(RunError, match="somebody pushed or blessed a model meanwhile"):
            cleaned(root)
    assert models(root) == ["1 on 0", "2 on 0"]
    cleaned(root)
    assert models(root) == ["1 on 0", "2 on 0"]


def test_what_was_removed_is_in_the_journal(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    cleaned(root, dry_run=True)
    assert read(str(root.serving)).entries == ()
    cleaned(root)
    (entry,) = read(str(root.serving)).entries
    assert (entry.what, entry.version) == ("clean", "")
    assert f"(uid {os.getuid()}) on " in entry.by
    assert re.fullmatch(r"removed 2 artifacts, 2 results; [0-9.]+ MB", entry.reason), entry.reason
    cleaned(root)
    assert len(read(str(root.serving)).entries) == 1, "nothing was removed"


def test_logs_of_failed_commands_go_after_a_day(root: Root, tmp_path: Path) -> None:
    tiny_run(root, "run-1", setting=1)
    for name in ("gauntlet-log-old", "gauntlet-log-new", "mine"):
        write(str(tmp_path / "tmp" / name), "log.txt", "x")
    (tmp_path / "tmp" / "gauntlet-log-link").symlink_to(tmp_path / "tmp" / "mine")
    aged(tmp_path / "tmp" / "gauntlet-log-old")
    aged(tmp_path / "tmp" / "mine")
    cleaned(root)
    left = {path.name for path in (tmp_path / "tmp").iterdir()}
    assert left == {"gauntlet-log-new", "mine", "gauntlet-log-link"}


def test_a_folder_that_is_no_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"no root of a pipeline.*neither metadata"):
        cleaned(Root(tmp_path))
    done = CliRunner().invoke(main, ["clean", "--root", str(tmp_path)])
    assert done.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_cleaned_under_a_run(root: Root) -> None:
    tiny_run(root, "run-1", setting=1)
    with FileLock(root.folder / ".lock"), pytest.raises(RunError, match="a run is under way"):
        cleaned(root)


def test_what_cannot_be_removed_is_named_and_the_rest_goes(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    remove = cleaning._remove

    def refusing(each: cleaning.LeftOver) -> None:
        if "Judge" in str(each.path):
            raise PermissionError(1, "Operation not permitted")
        remove(each)

    with monkeypatch.context() as refused:
        refused.setattr(cleaning, "_remove", refusing)
        with pytest.raises(RunError, match="Judge/blessing/3: Operation not permitted"):
            cleaned(root)
    assert models(root) == ["2 on 0"]
    assert [each.path.parts[-3] for each in cleaned(root).removed] == ["Judge"]


def test_a_root_that_was_moved_loses_nothing_that_is_kept(root: Root, tmp_path: Path) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    moved = Root(tmp_path / "moved")
    root.folder.rename(moved.folder)
    cleaned(moved)
    assert models(moved) == ["2 on 0"]


def test_the_command_says_what_it_removes_and_writes_it(root: Root, tmp_path: Path) -> None:
    tiny_run(root, "run-1", setting=1)
    tiny_run(root, "run-2", setting=2)
    write(str(root.folder), "notes.txt", "mine")
    file = tmp_path / "cleaned.json"
    arguments = ["clean", "--root", str(root), "--keep", "1", "--json", str(file)]
    dry = CliRunner().invoke(main, [*arguments, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "would be removed; runs that are kept: run-2" in dry.output
    assert models(root) == ["1 on 0", "2 on 0"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert f"not known, and left alone: {root}/notes.txt" in done.output
    assert models(root) == ["2 on 0"]
    content = json.loads(file.read_text())
    assert content["bytes"] == sum(each["bytes"] for each in content["removed"]) > 0
    assert {each["what"] for each in content["removed"]} == {"artifacts", "results"}
    program = "import sys; from gauntlet.cli import main; main()"
    command = [sys.executable, "-c", program, *arguments[:-1], "/dev/stdout"]
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(piped.stdout)["kept_runs"] == ["run-2"]
    assert "runs that are kept: run-2" in piped.stderr


def test_of_an_old_run_what_compare_reads_stays_and_images_go(root: Root) -> None:
    for run in ("old", "new"):
        tiny_run(root, run)
        for name in ("examples.csv", "images.npz", "gate-worst_case.png", "gate-of-mine.png"):
            write(str(root.results(run)), name, "")
    found = cleaned(root)
    assert {path.name for path in root.results("old").iterdir()} == {
        "summary.json", "config.json", "schema.pbtxt", "examples.csv", "gate-of-mine.png",
    }  # fmt: skip
    assert (root.results("new") / "images.npz").exists()
    assert {path.name for path in found.unknown} == {"gate-of-mine.png"}
