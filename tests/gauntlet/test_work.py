"""Work whose import is a phase of its own."""

import logging
import sys
from pathlib import Path

import pytest

from gauntlet.work import Work, do, log_of
from pipeline.root.root import Root


def test_the_import_is_a_phase_and_the_function_gets_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "slow_to_import.py").write_text("def double(number): return 2 * number\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    caplog.set_level(logging.INFO, "gauntlet")
    assert do(Work(library="Slow", function="slow_to_import:double", request=21)) == 42
    assert [(r.node, r.state) for r in caplog.records] == [
        ("Slow", "started"), ("Slow", "finished"),
    ]  # fmt: skip


def test_who_may_only_read_a_root_gets_a_log_of_their_own(tmp_path: Path) -> None:
    root = Root(tmp_path)
    with log_of(root) as log:
        assert log == root.log
    root.log.unlink()
    root.log.mkdir()  # cannot be written, by the superuser either
    with log_of(root) as log:
        assert tmp_path not in log.parents
    assert not log.parent.exists()
