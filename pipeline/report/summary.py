"""`summary.json` and the picture: the results of a run in one place."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tfx.orchestration.metadata import Metadata
from tfx.utils import path_utils

from components.evaluator.executor import read_explanations, read_written_tally
from components.evaluator.gate import Accuracy, Certified, WorstCase
from components.records.checks import read_checks
from components.records.names import CLEAN, FGSM, MODELS, ROBUST, UNDEFENDED, Origin
from components.serving_check.component import read_problems
from components.tuner import read_trials
from foundation.json import dumps, plain
from pipeline.definition.config import RunConfig
from pipeline.definition.gates import gates
from pipeline.report.accuracies import accuracies
from pipeline.report.picture import draw_front, draw_grid, draw_training
from pipeline.report.results import example_counts, some_rows
from pipeline.root.blessings import is_blessed, withdrawal
from pipeline.root.metadata import RunOutputs
from robustness.suites import attacks_of
from trainer.export import read_history
from trainer.tuning import SCORES

PICTURE_IMAGES = 32


def write_results(
    config: RunConfig,
    folder: Path,
    run_id: str,
    connection: Any,
    nodes: dict[str, dict[str, Any]],
    begin: float,
) -> dict[str, Any]:
    """Write `summary.json`, `attacked.png`, `training.png` and, after a search, `front.png` into
    the run's folder.

    Args:
        config: resolved configuration of the run.
        folder: where to write.
        run_id: name of the run in the metadata.
        connection: of the metadata store.
        nodes: seconds and cached by node.
        begin: monotonic time at which the run began.

    Returns:
        The summary.
    """
    stages = config.attack.stages
    with Metadata(connection) as metadata:
        outputs = RunOutputs(metadata.store, run_id)
        tally = read_written_tally(outputs.artifact("Evaluator", "evaluation").uri)
        attacked = outputs.artifact("AdversarialExampleGen", "adversarial_examples").uri
        summary = {
            "run_id": run_id,
            "preset": config.preset,
            "dataset": config.data.dataset,
            "seed": config.seed,
            "threat": {"norm": str(config.threat.norm), "epsilon": config.threat.epsilon},
            "suite": str(config.attack.suite),
            "attacks": {
                str(attack.name): attack.effort(config.threat) for attack in attacks_of(stages)
            },
            "examples": example_counts(
                outputs.artifact("StatisticsGen", "statistics").uri, list(config.data.splits)
            ),
            "models": {
                model: dataclasses.asdict(accuracies(tally, model, stages)) for model in MODELS
            },
            "training": {model: _history(outputs, model) for model in MODELS},
            "checks": plain(read_checks(attacked)),
            **_verdict(outputs),
            "nodes": nodes,
        }
        if config.tuner.trials:
            summary["tuning"] = tuning(config, outputs)
    summary["caveats"] = caveats(config, summary)
    draw_picture(config, os.path.join(attacked, "Split-test"), folder / "attacked.png")
    threat = f"{config.threat.norm}, epsilon {config.threat.epsilon}"
    caption = f"{config.recipe.name}, {config.data.dataset}, {threat}"
    draw_training(summary["training"][ROBUST], caption, folder / "training.png")
    if "tuning" in summary:
        draw_front(summary["tuning"], caption, folder / "front.png")
    summary["seconds"] = round(time.monotonic() - begin, 2)
    (folder / "summary.json").write_text(dumps(summary))
    return summary


def caveats(config: RunConfig, summary: dict[str, Any]) -> list[str]:
    """What a reader of a push must know: how far the worst case lies below what the gates asked
    for."""
    robust = summary["models"]["robust"]
    claim = max(
        gate.bound
        for gate in gates(config.gates)
        if isinstance(gate, Accuracy | WorstCase | Certified) and gate.argument != (CLEAN,)
    )
    found = []
    search = summary.get("tuning")
    if search and search["trials"][0]["clean"] < search["clean_floor"]:
        found.append(
            f"No trial of the search reached the clean accuracy of {search['clean_floor']:.1%} "
            "(tuner.clean_floor) on the validation split; the one with the highest, "
            f"{search['trials'][0]['clean']:.1%}, was taken."
        )
    if not summary["blessed"] or robust["worst_case"] >= claim:
        return found
    transfer = robust["transfer"][FGSM]
    attack, white_box = min(robust["white_box"].items(), key=lambda item: item[1])
    return [
        *found,
        f"This push rests on a weak claim. {transfer:.1%} under FGSM is transfer accuracy: the "
        "images were made against the undefended model. Attacked with its own gradients "
        f"({attack}, the same epsilon of {config.threat.epsilon}) the pushed model is right on "
        f"{white_box:.1%}, and on {robust['worst_case']:.1%} in the worst case over all attacks. "
        f"The gates ask for a worst case of {config.gates.worst_case:.1%} only.",
    ]


def tuning(config: RunConfig, outputs: RunOutputs) -> dict[str, Any]:
    """All trials of the search, the best first, each with whether it is `chosen` and on the
    `front`: no other trial is at least as good in clean, adversarial and certified accuracy, and
        better in one."""
    trials = read_trials(outputs.artifact("FrontTuner", "tuner_results").uri)
    front = on_front([[trial[name] or 0.0 for name in SCORES] for trial in trials])
    for place, trial in enumerate(trials):
        trial |= {"chosen": place == 0, "front": bool(front[place])}
    return {"clean_floor": config.tuner.clean_floor, "trials": trials}


def on_front(scores: list[list[float]]) -> npt.NDArray[np.bool_]:
    """Which rows no other row dominates: bool [n]."""
    points = np.asarray(scores)
    at_least = np.all(points[:, None] <= points[None], axis=2)
    better = np.any(points[:, None] < points[None], axis=2)
    return ~np.any(at_least & better, axis=1)


def draw_picture(config: RunConfig, rows: str, path: Path) -> None:
    """The grid of FGSM images made against the undefended model. rows: folder of the rows."""
    shape, threat = config.data.image_shape, config.threat
    shown = some_rows(rows, Origin(FGSM, UNDEFENDED), PICTURE_IMAGES, shape)
    caption = f"{FGSM} against the undefended model, {threat.norm}, epsilon {threat.epsilon}"
    draw_grid(shown, caption, path)


def _verdict(outputs: RunOutputs) -> dict[str, Any]:
    """Gates, blessing, who withdrew it (null where it is in force, or was never given), and the
    folder that was pushed (null when nothing was)."""
    blessing = outputs.artifact("Evaluator", "blessing")
    withdrawn = withdrawal(blessing)
    pushed = outputs.artifact("Pusher", "pushed_model").custom_properties
    return {
        "gates": read_explanations(blessing.uri),
        "serving_problems": read_problems(outputs.artifact("ServingCheck", "blessing").uri),
        "blessed": is_blessed(blessing),
        "withdrawn": withdrawn and dataclasses.asdict(withdrawn),
        "pushed": pushed["pushed_destination"].string_value
        if pushed["pushed"].int_value == 1
        else None,
    }


def _history(outputs: RunOutputs, model: str) -> dict[str, Any]:
    """How a model was trained, epoch by epoch."""
    directory = path_utils.serving_model_path(outputs.artifact(f"Trainer.{model}", "model").uri)
    return dataclasses.asdict(read_history(directory))
