"""What of a child's log records its log keeps."""

import os
import sys
from pathlib import Path

import pytest

from foundation.environment import child_environment, overruled
from foundation.process import Child


def talk() -> None:
    """What the child runs: libraries talk as they do in a run."""
    import logging

    from absl import logging as absl

    from foundation.events import Fields

    ours = logging.getLogger("gauntlet.trainer")
    ours.info("epoch 1: loss 0.5")
    ours.info("training", extra=Fields(progress=(1, 9)))
    ours.info("attacking", extra=Fields(advance=500))
    absl.info("MetadataStore with gRPC connection initialized")
    absl.warning("ArtifactQuery.property_predicate is not supported.")
    logging.getLogger("apache_beam.typehints").info("Using Any for unsupported type")
    logging.getLogger("tensorflow_transform").error("no such column")
    logging.getLogger("gauntletry").info("not ours")
    try:
        raise ValueError("somewhere below")
    except ValueError:
        logging.getLogger("root").exception("it failed")


def test_a_log_keeps_ours_and_what_libraries_warn_of(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w+") as log:
        heard: list[str] = []
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        Child(
            "test_child:talk",
            output=log,
            environment={"PYTHONPATH": path},
            on_record=lambda record: heard.append(record.getMessage()),
        ).result()
        text = (tmp_path / "log").read_text()
    kept = [line.split(" ", 2)[2] for line in text.splitlines() if line[:2] == "20"]
    assert kept == [
        "INFO gauntlet.trainer: epoch 1: loss 0.5",
        "INFO gauntlet.trainer: attacking",
        "WARNING absl: ArtifactQuery.property_predicate is not supported.",
        "ERROR tensorflow_transform: no such column",
        "ERROR root: it failed",
    ]
    assert text.rstrip().endswith("ValueError: somewhere below")
    assert heard == ["epoch 1: loss 0.5", "training", "attacking"]


@pytest.mark.parametrize(("given", "level"), [({}, "1"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")])
def test_of_tensorflows_cpp_warnings_are_kept_unless_a_user_says_otherwise(
    given: dict[str, str], level: str
) -> None:
    assert child_environment(given, {})["TF_CPP_MIN_LOG_LEVEL"] == level
    assert overruled(given) == []
