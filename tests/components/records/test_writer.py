"""Rows are written by workers, and what they report decides."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import RunnerResult
from apache_beam.runners.runner import PipelineRunner
from small_rows import small_rows
from small_world import artifact
from tfx.types.standard_artifacts import Examples

from components.records.names import CLEAN, FGSM, ROBUST, Origin
from components.records.record import Rows
from components.records.writer import WRITTEN, Written, write_rows
from foundation.errors import RunError
from robustness.config import ThreatModel


class Greys:
    """A source whose shards are the names of their images, with commas."""

    threat = ThreatModel(epsilon=0.1)
    origins = (Origin(CLEAN), Origin(FGSM, ROBUST))
    writes_clean = True

    def __init__(self, moved: float = 0.05) -> None:
        self._moved = moved

    def setup(self) -> None:
        self._grey = 0.5

    def rows(self, shard: str) -> Iterator[Rows]:
        for name in filter(None, shard.split(",")):
            identity, attacked = name.encode(), self._grey + self._moved
            clean = (identity, CLEAN, self._grey)
            yield small_rows(clean, (identity, "fgsm@robust", attacked))


def write(
    folder: Path, shards: list[str], moved: float = 0.05, runner: Any = "FnApiRunner"
) -> Written:
    output = artifact(Examples, str(folder))
    pipeline = beam.Pipeline(runner=runner)
    written = write_rows(pipeline, Greys(moved), shards, output, "test")
    assert output.split_names == '["test"]'
    assert output.get_string_custom_property("payload_format") == "FORMAT_TF_EXAMPLE"
    return written


def test_the_workers_report_what_they_wrote(tmp_path: Path) -> None:
    """One of the shards is empty, as those of a foreign ExampleGen may be."""
    written = write(tmp_path, ["a,b", "", "c"])
    assert written == Written(shards=3, images=3, rows=6, repeated=0)
    assert json.loads((tmp_path / WRITTEN).read_text())["images"] == 3
    assert len(list((tmp_path / "Split-test").iterdir())) == 3


@pytest.mark.parametrize("fails", [False, True], ids=["empty", "not there"])
def test_no_counter_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """A runner without committed counters: what is right passes, what is not does not."""

    def metrics(self: RunnerResult) -> Any:
        if fails:
            raise NotImplementedError
        return beam.metrics.metric.MetricResults()

    monkeypatch.setattr(RunnerResult, "metrics", metrics)
    assert write(tmp_path / "right", ["a,b"]).images == 2
    with pytest.raises(
        RunError, match=r"2 attacked images lie outside the linf ball of radius 0\.1"
    ):
        write(tmp_path / "wrong", ["a,b"], moved=0.2)


@pytest.mark.parametrize("shards", [[""], ["", ""]], ids=["one shard", "two shards"])
def test_an_empty_split_is_an_error(tmp_path: Path, shards: list[str]) -> None:
    with pytest.raises(RunError, match=r"there is no image to attack: .*Split-test is empty"):
        write(tmp_path, shards)


def test_images_of_two_shards_that_share_an_id(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="1 of 4 images share theirs with another one"):
        write(tmp_path, ["a,b", "c,a"])


def test_a_runner_that_runs_nothing_is_found_out(tmp_path: Path) -> None:
    class Idle(PipelineRunner):
        def run_pipeline(self, *_: Any) -> Any:
            class Done:
                state = beam.runners.runner.PipelineState.DONE

                def wait_until_finish(self) -> str:
                    return self.state

            return Done()

    with pytest.raises(RunError, match=r"expected the workers' report in .*written\.json"):
        write(tmp_path, ["a"], runner=Idle())


def test_a_killed_worker_leaves_no_rows(tmp_path: Path) -> None:
    """Whole or cut, what it had written of a shard is not read beside the shard."""
    folder = tmp_path / "Split-test"
    folder.mkdir()
    (folder / "data_tfrecord-00000-of-00001.0f.partial").write_bytes(b"rows")
    write(tmp_path, ["a"])
    assert [path.name for path in folder.iterdir()] == ["data_tfrecord-00000-of-00001"]


def test_a_shard_that_is_lost_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "Split-test").mkdir()
    (tmp_path / "Split-test" / "data_tfrecord-00000-of-00009").write_bytes(b"")
    with pytest.raises(RunError, match=r"expected 2 shards in .*, 2 were written and 3 files are"):
        write(tmp_path, ["a", "b"])
