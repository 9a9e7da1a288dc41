"""The runs of a root, whatever lies in their folders."""

import datetime
import json
import os
import time
from pathlib import Path

import pytest
from past_runs import FIRST, SECOND, found_on, gate, summary_of, write_past_run
from pushed_versions import push

from components.versions import Card
from foundation.errors import ConfigError, DataError, RunError
from foundation.locks import LOCK, lock
from gauntlet.history.runs import State, chosen, list_runs, read_run
from pipeline.root.root import CONFIG, SUMMARY, Root

THIRD = "20261128-101112-000001"
FOUND = found_on({0: "clean", 1: "pgd"})


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """A run that pushed, and a later one that was refused."""
    write_past_run(tmp_path, summary_of(FOUND))
    refused = {"pushed": None, "blessed": False, "gates": [gate("worst_case", False)]}
    write_past_run(tmp_path, summary_of(FOUND, SECOND, **refused))
    return Root(tmp_path)


def unfinished(root: Root, run_id: str = THIRD) -> Path:
    """A run that has begun."""
    folder = root.results(run_id)
    folder.mkdir(parents=True)
    settings = {"preset": "robust", "data": {"dataset": "pets"}, "threat": {"epsilon": 0.1}}
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def test_the_newest_run_comes_first_with_what_it_found(root: Root) -> None:
    refused, pushed = list_runs(root).runs
    assert (pushed.run_id, pushed.began) == (FIRST, "2026-11-26T10:11:12+00:00")
    assert (pushed.state, pushed.outcome) == (State.PUSHED, "pushed as version 7")
    assert (pushed.clean, pushed.worst_case, pushed.certified) == (0.95, 0.9, 0.2)
    assert (refused.state, refused.outcome) == (State.REFUSED, "refused by worst_case")
    assert (refused.version, refused.epsilon, refused.seconds) == (None, 0.2, 90.0)
    assert refused.bytes > 0


def test_of_many_runs_the_newest_are_listed(root: Root) -> None:
    listed = list_runs(root, limit=1)
    assert ([run.run_id for run in listed.runs], listed.total) == ([SECOND], 2)


def test_a_run_without_a_summary_failed_unless_it_holds_the_lock(root: Root) -> None:
    config = unfinished(root) / CONFIG
    assert list_runs(root).runs[0].state is State.ENDED
    os.utime(config, (time.time() - 10,) * 2)
    with lock(root.folder / LOCK, "a run is under way"):
        waiting, *_ = list_runs(root).runs
        assert waiting.state is State.ENDED, "it has not begun under this lock"
        os.utime(config, (time.time() + 2,) * 2)
        later = root.results("20261129-101112-000001")
        later.mkdir()
        (later / "log.txt").touch()
        refused_by_lock, going_on, *_ = list_runs(root).runs
    assert (going_on.run_id, going_on.state) == (THIRD, State.GOING_ON)
    assert (going_on.preset, going_on.dataset, going_on.epsilon) == ("robust", "pets", 0.1)
    assert refused_by_lock.state is State.ENDED
    assert list_runs(root).runs[1].state is State.ENDED, "the lock is free again"


def test_a_push_is_known_by_its_card_where_there_is_no_summary(root: Root) -> None:
    unfinished(root)
    push(root.folder, "7", Card(model="m", run_id=THIRD))
    newest, *_ = list_runs(root).runs
    assert (newest.state, newest.version) == (State.PUSHED, "7")
    assert newest.outcome == "pushed as version 7; no summary.json"


@pytest.mark.parametrize("text", ["{", "[]", '{"run_id": 1}', "\udcff", "[" * 100_000])
def test_a_damaged_summary_is_listed_as_such(root: Root, text: str) -> None:
    (root.results(SECOND) / SUMMARY).write_bytes(text.encode(errors="surrogateescape"))
    damaged, whole = list_runs(root).runs
    assert damaged.state is State.DAMAGED
    assert "summary.json is damaged" in damaged.outcome
    assert whole.state is State.PUSHED
    with pytest.raises(DataError, match=r"summary\.json is damaged"):
        read_run(root, SECOND)


def test_an_epsilon_that_was_one_once_leaves_the_others_listed(root: Root) -> None:
    file = root.results(SECOND) / SUMMARY
    content = json.loads(file.read_text())
    content["threat"]["epsilon"] = 8.0
    file.write_text(json.dumps(content))
    damaged, whole = list_runs(root).runs
    assert (damaged.state, whole.state) == (State.DAMAGED, State.PUSHED)
    assert "got 8 in L-infinity" in damaged.outcome


@pytest.mark.parametrize("text", ["{", "[]", '{"data": 3, "threat": null}'])
def test_a_damaged_configuration_says_nothing(root: Root, text: str) -> None:
    (unfinished(root) / CONFIG).write_text(text)
    assert (list_runs(root).runs[0].state, list_runs(root).runs[0].dataset) == (State.ENDED, None)


def test_a_run_is_chosen_by_what_its_name_begins_with(root: Root) -> None:
    assert chosen(root, "latest") == chosen(root, "20261127") == chosen(root, SECOND) == SECOND
    assert chosen(root, "previous") == chosen(root, FIRST) == FIRST
    assert chosen(root, "20261126-1") == FIRST
    with pytest.raises(ConfigError, match=f"several runs .* begin with 2026; .*{SECOND}, {FIRST}"):
        chosen(root, "2026")
    with pytest.raises(ConfigError, match=f"has no run 2025; there are {SECOND}, {FIRST}"):
        chosen(root, "2025")


def test_a_name_that_is_the_beginning_of_another_is_a_name(root: Root) -> None:
    write_past_run(root.folder, summary_of(FOUND, "mine"))
    write_past_run(root.folder, summary_of(FOUND, "mine-2"))
    assert chosen(root, "mine") == "mine"


def test_a_root_without_runs_says_how_to_make_one(tmp_path: Path) -> None:
    assert list_runs(Root(tmp_path)).runs == ()
    with pytest.raises(ConfigError, match=r"there is no run in .* yet; `gauntlet run --root"):
        chosen(Root(tmp_path), "latest")


def test_of_a_run_without_a_summary_the_newest_with_one_is_named(root: Root) -> None:
    unfinished(root)
    problem = rf"run {THIRD} has no summary.json \(failed or interrupted\); .*{SECOND}$"
    with pytest.raises(RunError, match=problem):
        read_run(root, chosen(root, "latest"))


def test_a_run_of_another_name_is_as_old_as_its_files(root: Root) -> None:
    folder = write_past_run(root.folder, summary_of(FOUND, "mine"))
    for path in (*folder.iterdir(), folder):
        os.utime(path, (1e9, 1e9))
    *_, oldest = list_runs(root).runs
    began = datetime.datetime.fromtimestamp(1e9, datetime.UTC).isoformat()
    assert (oldest.run_id, oldest.began) == ("mine", began)
