"""The layout of a root, its lock and its metadata."""

from pathlib import Path

import pytest
from filelock import FileLock

from foundation.errors import ConfigError, RunError
from pipeline.root.root import Root


def test_the_layout_is_the_one_that_earlier_versions_made() -> None:
    root = Root(Path("/r"))
    assert {
        str(path)
        for path in (
            root.serving, root.artifacts, root.evaluations, root.log, root.results("7"),
            root.run_log("7"),
        )
    } == {
        "/r/serving", "/r/artifacts", "/r/evaluations", "/r/log.txt", "/r/results/7",
        "/r/results/7/log.txt",
    }  # fmt: skip
    assert root.connection.sqlite.filename_uri == "/r/metadata.sqlite"
    assert str(root) == "/r"


def test_a_root_is_locked_once(tmp_path: Path) -> None:
    root = Root(tmp_path)
    with root.locked("busy"), pytest.raises(RunError, match=r"^again$"), root.locked("again"):
        pytest.fail("locked twice")
    with root.locked("busy"):
        assert (tmp_path / ".lock").exists()


def test_a_change_by_hand_needs_a_root_and_peace(tmp_path: Path) -> None:
    root = Root(tmp_path)
    with pytest.raises(ConfigError, match="is no root of a pipeline: it has no metadata"):
        root.under_change().__enter__()
    with root.metadata():
        pass
    with root.under_change() as store:
        assert store.get_artifacts() == []
        with pytest.raises(RunError, match="busy"), root.locked("busy"):
            pytest.fail("a run began meanwhile")
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RunError, match=r"a run is under way in .*; w"),
    ):
        root.under_change().__enter__()


def test_where_no_link_can_be_made_the_data_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / ".data").mkdir()
    assert Root(tmp_path).link_data("/data/mnist/3.0.1") == "/data/mnist/3.0.1"
