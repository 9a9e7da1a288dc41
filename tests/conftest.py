"""The environment that TensorFlow needs, and the fixtures that several test files share."""

import os
from collections.abc import Iterator
from types import SimpleNamespace

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from docker_daemon import NOT_PROVEN
from small_world import build_small_world, run_trainer, training_task

LONGEST = (
    "kubeflow/test_image_docker",
    "kubeflow/test_kubeflow_run",
    "gauntlet/test_end_to_end",
    "kubeflow/test_vertex_run",
    "pipeline/test_planted",
    "kubeflow/test_spans_run",
    "packaging/test_first_hour",
)
"""Files that take longest where their long tests run. They begin first, so that none is left alone
at the end while other workers have nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        names = (n for n, name in enumerate(LONGEST) if f"tests/{name}.py" in item.nodeid)
        return next(names, len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Folders `root`, `examples` (Split-train, -validation, -test) and `transform`."""
    return build_small_world(tmp_path_factory.mktemp("small-world"))


@pytest.fixture(scope="session")
def small_models(small_world: SimpleNamespace) -> dict[str, str]:
    """Artifact folders of the undefended and the robust model."""
    return {
        "undefended": run_trainer(
            small_world, small_world.root / "undefended", training_task("undefended")
        ),
        "robust": run_trainer(small_world, small_world.root / "robust", training_task("tutorial")),
    }


@pytest.fixture(scope="module")
def in_memory_beam() -> Iterator[None]:
    """Beam pipelines in this process, as `pipeline.local.runner` runs them."""
    from apache_beam.options.pipeline_options import StandardOptions

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", "FnApiRunner")
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly, and why, that Docker's tests proved nothing."""
    skipped = terminalreporter.getreports("skipped")
    reasons = {str(each.longrepr[2]) for each in skipped if isinstance(each.longrepr, tuple)}
    for reason in sorted(reason for reason in reasons if NOT_PROVEN in reason):
        terminalreporter.section("DOCKER DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(reason.removeprefix("Skipped: "), red=True)
