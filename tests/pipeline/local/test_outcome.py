"""What is known of a run that ended before it could say what became of its push."""

from pathlib import Path

import pytest
from three_runs import three_runs

from foundation.errors import ProcessDied
from pipeline.definition.presets import preset
from pipeline.local.job import Job, pushed_before
from pipeline.local.orchestrator import Orchestrator
from pipeline.root.root import Root

KILLED = ProcessDied("it ended with signal 9")


def job(root: Root, run_id: str) -> Job:
    """A run in a root."""
    return Job(
        config=preset("smoke"),
        root=root,
        run_id=run_id,
        data_dir=None,
        orchestrator=Orchestrator.LOCAL,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Of three runs, whose Pushers have served a model again, pushed nothing, and not ended."""
    root = three_runs(tmp_path_factory.mktemp("job") / "root")
    with root.metadata() as store:
        for artifact in store.get_artifacts_by_type("PushedModel"):
            if artifact.name == "run-3":
                continue
            noted, is_first = artifact.custom_properties, artifact.name == "run-1"
            noted["pushed"].int_value = int(is_first)
            noted["pushed_destination"].string_value = "/r/serving/7" if is_first else ""
            store.put_artifacts([artifact])
    for version in root.serving.glob("[0-9]*"):  # their cards name other runs
        version.rename(version.with_name(f"{version.name}.away"))
    return root


@pytest.mark.parametrize(("run", "pushed"), [("run-1", "/r/serving/7"), ("run-2", None)])
def test_a_run_that_was_killed_after_its_pusher_is_known_by_the_metadata(
    root: Root, run: str, pushed: str | None
) -> None:
    """It found its model served already, or refused: no card names the run."""
    outcome = pushed_before(job(root, run), KILLED)
    assert outcome is not None
    assert outcome.pushed == pushed
    assert outcome.problems == ["what comes after the push: it ended with signal 9"]


@pytest.mark.parametrize("run", ["run-3", "run-9"])
def test_a_run_that_was_killed_before_has_pushed_nothing(root: Root, run: str) -> None:
    assert pushed_before(job(root, run), KILLED) is None


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_where_the_metadata_say_nothing(tmp_path: Path, content: bytes | None) -> None:
    root = Root(tmp_path)
    if content is not None:
        (tmp_path / "metadata.sqlite").write_bytes(content)
    assert pushed_before(job(root, "run-1"), KILLED) is None
