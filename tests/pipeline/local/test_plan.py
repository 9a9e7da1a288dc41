"""What is planned of a run on real images is what the run then does, node by node."""

import itertools
from pathlib import Path

import pytest

from components.changes import signed
from components.datasets.prepare import prepare
from components.mandate import Mandate
from foundation.errors import ConfigError, RunError
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.local import plan
from pipeline.local.job import Job, run_job
from pipeline.local.orchestrator import Orchestrator
from pipeline.local.plan import NodeForecast, Plan, planned
from pipeline.report.run_summary import NodeRun
from pipeline.root.root import Root

FEW = (
    "data.train=train[:600]", "data.validation=train[55000:55100]", "data.test=test[:60]",
    "trainer.epochs=1", "gates.clean=0.1", "gates.transfer_fgsm=0",
)  # fmt: skip

MANDATE = Mandate(force=True, signature=signed("a test"))
"""One for all runs: Champion sees the time at which it was signed."""

run_ids = map("run-{}".format, itertools.count(1))


def job(root: Root, *settings: str, anyway: bool = False) -> Job:
    return Job(
        config=override(preset("smoke"), [*FEW, *settings]),
        root=root,
        run_id=next(run_ids),
        data_dir=None,
        orchestrator=Orchestrator.LOCAL,
        mandate=MANDATE,
        anyway=anyway,
    )


def listing(root: Root) -> dict[str, tuple[int, float]]:
    found = {str(path): path.lstat() for path in root.folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime) for path, stat in found.items()}


def plan_of(root: Root, *settings: str) -> Plan:
    """The plan, which leaves the root as it is."""
    before = listing(root)
    found = planned(job(root, *settings))
    assert listing(root) == before
    return found


def cached(nodes: dict[str, NodeForecast] | dict[str, NodeRun]) -> dict[str, bool]:
    return {name: node.cached for name, node in nodes.items()}


def ran(root: Root, *settings: str) -> dict[str, bool]:
    """By node, whether the run took it from the cache."""
    root.folder.mkdir(exist_ok=True)
    outcome = run_job(job(root, *settings))
    assert outcome.summary, outcome.problems
    return cached(outcome.summary.nodes)


@pytest.mark.e2e
def test_each_run_does_what_was_planned(tmp_path: Path) -> None:
    root = Root(tmp_path / "root")
    told = plan_of(root)
    assert not root.folder.exists()
    assert told.champion.not_compared == "no model is served yet"
    assert cached(told.nodes) == ran(root)

    told = plan_of(root)  # what was served then is not what is served now
    assert told.champion.version in [path.name for path in root.serving.iterdir()]
    assert (told.nodes["Trainer.robust"].seconds or 0) > 0
    assert cached(told.nodes) == ran(root)

    told = plan_of(root)
    assert [name for name, node in told.nodes.items() if not node.cached] == ["Pusher"]
    assert cached(told.nodes) == ran(root)

    for setting, node, why in (
        ("gates.worst_case=0.01", "AnomalyGate", "gates.worst_case is 0.01, was 0.0"),
        ("attack.suite=autoattack", "AdversarialExampleGen", "attack.suite is autoattack"),
        ("trainer.epochs=2", "Trainer.robust", "trainer.epochs is 2, was 1"),
        ("seed=1", "Trainer.undefended", "seed is 1, was 0"),
    ):
        told = plan_of(root, setting)
        assert why in told.nodes[node].why
        assert cached(told.nodes) == ran(root, setting)
        assert told.stops == ""


@pytest.mark.slow
def test_data_that_is_not_here_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "found", lambda *_: None)
    told = planned(job(Root(tmp_path / "root")))
    assert told.notes == [plan.NO_DATA]
    assert not any(cached(told.nodes).values())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_too_little_disk_is_told_with_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise RunError("the run needs up to 1 GB of disk")

    monkeypatch.setattr(plan, "check_disk", full)
    told = planned(job(Root(tmp_path / "root")))
    assert (told.disk, told.stops) == ("", "the run needs up to 1 GB of disk")
    assert told.nodes


@pytest.mark.slow
def test_a_weaker_policy_ends_the_plan_as_it_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Champion itself says it, where the command line had not."""

    def weaker(*_: object) -> None:
        raise ConfigError("this run asks for less")

    monkeypatch.setattr("components.champion.agree", weaker)
    assert prepare("mnist", None)
    with pytest.raises(ConfigError, match="asks for less"):
        planned(job(Root(tmp_path / "root")))
