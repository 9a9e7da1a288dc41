"""Results of runs as they lie in a root, without the runs."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.evaluator.explained import Explanation
from components.records.table import Found, write_examples
from pipeline.report.run_summary import Accuracies, NodeRun, RunSummary
from pipeline.root.root import CONFIG, EXAMPLES, SUMMARY, Root
from robustness.config import ThreatModel

FIRST, SECOND = "20261126-101112-000001", "20261127-101112-000001"


def found_on(broken: dict[int, str], images: int = 20, proven: int = 4) -> list[Found]:
    """Images of which some are broken, by their number, and the last ones proven; the model is
    right on all others."""
    return [
        Found(
            id=f"image-{number:03}",
            label=number % 10,
            prediction=number % 10 + (broken.get(number) == "clean"),
            broken_by=broken.get(number, ""),
            certified_by="ibp" if number >= images - proven else "",
        )
        for number in range(images)
    ]


def gate(name: str, passed: bool, **more: Any) -> Explanation:
    """What became of a gate on a share of images."""
    what: dict[str, Any] = {
        "value": 0.5, "interval": (0.4, 0.6), "judged": 0.4, "op": ">=", "bound": 0.3,
        "images_to_change": None, "images_against": 2, "ids": ["image-000", "image-001"],
        "sentence": f"What was found of {name}.",
    }  # fmt: skip
    return Explanation(name=name, passed=passed, **what | more)


def summary_of(found: Sequence[Found], run_id: str = FIRST, **more: Any) -> RunSummary:
    """A run that attacked with FGSM and PGD and found this; what is left out does not matter."""
    n = len(found)

    def share(*attacks: str) -> float:
        return sum(each.broken_by not in attacks for each in found) / n

    robust = Accuracies(
        clean=share("clean"),
        transfer={"fgsm": 0.9},
        white_box={"fgsm": share("clean", "fgsm"), "pgd": share("clean", "fgsm", "pgd")},
        worst_case=sum(not each.broken_by for each in found) / n,
        certified=sum(each.certified for each in found) / n,
        certified_by={},
    )
    what: dict[str, Any] = {
        "run_id": run_id, "preset": "smoke", "dataset": "mnist", "seed": 0,
        "fingerprint": "0" * 64, "test_fingerprint": "a" * 64,
        "threat": ThreatModel(epsilon=0.2), "suite": "fast",
        "attacks": {"fgsm": {"steps": 1, "restarts": 1}, "pgd": {"steps": 20, "restarts": 1}},
        "examples": {"test": n}, "models": {"undefended": robust, "robust": robust},
        "training": {}, "checks": [], "gates": [gate("worst_case", True)],
        "serving_problems": [], "blessed": True, "pushed": "/r/serving/7",
        "nodes": {"Pusher": NodeRun(seconds=1.0, cached=False)}, "caveats": [], "seconds": 90.0,
    }  # fmt: skip
    return RunSummary(**what | more)


def write_past_run(
    root: Path, summary: RunSummary, found: Sequence[Found] = (), **settings: Any
) -> Path:
    """Write a run's results; returns their folder. found: none for no table of images."""
    folder = Root(root).results(summary.run_id)
    folder.mkdir(parents=True)
    threat = dataclasses.asdict(summary.threat)
    config = {"preset": summary.preset, "data": {"dataset": summary.dataset}, "threat": threat}
    (folder / CONFIG).write_text(json.dumps(config | settings))
    (folder / SUMMARY).write_text(summary.to_json())
    if found:
        write_examples(folder / EXAMPLES, found, summary.class_names)
    return folder
