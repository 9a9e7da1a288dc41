"""`summary.json` and the picture: the results of a run in one place."""

import dataclasses
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tfx.orchestration.metadata import Metadata
from tfx.utils import path_utils

from components.anomaly_gate import ACCEPTED_CLASSES
from components.champion_challenge.rivalry import read_rivalry
from components.changes import Signature
from components.datasets.folder.store import read_notes
from components.datasets.prepared import PreparedDataset, split_fingerprint
from components.evaluator.asked import gates
from components.evaluator.executor import read_written_tally
from components.evaluator.explained import read_explanations
from components.evaluator.finding import confidence_interval
from components.evaluator.gate import Accuracy, Certified, WorstCase
from components.evaluator.tally import Tally
from components.policy import GatesConfig
from components.pusher import FORCED, WITHDRAWN
from components.records.checks import read_checks
from components.records.names import CLEAN, FGSM, MODELS, ROBUST, UNDEFENDED, Origin
from components.serving_check.component import read_problems
from components.tuner import read_trials
from foundation.versions import versions
from foundation.whole import write_text
from pipeline.definition.config import RunConfig
from pipeline.report.accuracies import accuracies
from pipeline.report.examples import Attacked, write_found
from pipeline.report.picture import draw_front, draw_grid, draw_training
from pipeline.report.results import example_counts, some_rows
from pipeline.report.run_summary import NodeRun, Outcome, RunSummary, Training, Trial, Tuning
from pipeline.root.blessings import is_blessed, withdrawal
from pipeline.root.metadata import RunOutputs, pushed_by
from pipeline.root.root import EXAMPLES, IMAGES, SUMMARY
from robustness.config import shown_epsilon
from robustness.suites import attacks_of
from trainer.classes import class_names_of
from trainer.export import read_history
from trainer.models.judged import Judged
from trainer.models.load import load_export
from trainer.tuning import SCORES

PICTURE_IMAGES = 32


def write_results(
    config: RunConfig,
    folder: Path,
    run_id: str,
    connection: Any,
    nodes: dict[str, NodeRun],
    begin: float,
    prepared: PreparedDataset,
) -> Outcome:
    """Write `summary.json`, `examples.csv`, `images.npz`, `attacked.png`, `training.png` and, after
    a search, `front.png` into the run's folder. What fails of that does not change what was pushed,
    and is a problem of the outcome.

    Args:
        config: resolved configuration of the run.
        folder: where to write.
        run_id: name of the run in the metadata.
        connection: configuration of the connection to the metadata.
        nodes: what became of each node.
        begin: monotonic time at which the run began.
        prepared: the data, in whose folder are notes on the user's own images.
    """
    with Metadata(connection) as metadata:
        outputs = RunOutputs(metadata.store, run_id)
        outcome = Outcome(pushed=pushed_by(outputs))
        found: list[str] = []
        with outcome.noting("the notes on the images"):
            found = [f"Of the images: {note}." for note in read_notes(Path(prepared.directory))]
        fingerprint: str | None = None
        with outcome.noting("the fingerprint of the test images"):
            fingerprint = split_fingerprint(prepared, config.data.test)
        with outcome.noting("the summary"):
            summary = summarised(config, outputs, nodes)
            attacked = attacked_rows(config, outputs)
            summary = dataclasses.replace(summary, caveats=[*found, *summary.caveats])
            seconds = round(time.monotonic() - begin, 2)
            outcome.summary = dataclasses.replace(
                summary,
                caveats=caveats(config, summary),
                fingerprint=prepared.fingerprint,
                test_fingerprint=fingerprint,
                seconds=seconds,
            )
    if outcome.summary:
        with outcome.noting(SUMMARY):
            write_text(folder / SUMMARY, outcome.summary.to_json())
        with outcome.noting(f"{EXAMPLES} and {IMAGES}"):
            write_found(folder, attacked, summary.class_names, summary.gates, gates(config.gates))
        with outcome.noting("attacked.png"):
            rows, *_ = attacked.folders
            draw_picture(config, summary.class_names, rows, folder / "attacked.png")
        _draw(config, outcome, folder)
    return outcome


def _draw(config: RunConfig, outcome: Outcome, folder: Path) -> None:
    """The pictures of training and search."""
    threat, summary = config.threat, outcome.summary
    assert summary
    epsilon = shown_epsilon(threat.epsilon)
    caption = f"{config.recipe.name}, {config.data.dataset}, {threat.norm}, epsilon {epsilon}"
    with outcome.noting("training.png"):
        draw_training(summary.training[ROBUST], caption, folder / "training.png")
    if summary.tuning:
        with outcome.noting("front.png"):
            draw_front(summary.tuning, caption, folder / "front.png")


def summarised(config: RunConfig, outputs: RunOutputs, nodes: dict[str, NodeRun]) -> RunSummary:
    """What the nodes of a run left, without seconds, fingerprint of the images, and caveats on its
    figures."""
    stages = config.attack.stages
    tally = read_written_tally(outputs.artifact("Evaluator", "evaluation").uri)
    attacked = outputs.artifact("AdversarialExampleGen", "adversarial_examples").uri
    challenged = outputs.artifact("ChampionChallenge", "challenged_examples").uri
    statistics = outputs.artifact("StatisticsGen", "statistics").uri
    accepted = outputs.artifact("AnomalyGate", "accepted").custom_properties
    blessing = outputs.artifact("Evaluator", "blessing")
    pushed = outputs.artifact("Pusher", "pushed_model").custom_properties
    return RunSummary(
        run_id=outputs.run_id,
        preset=config.preset,
        dataset=config.data.dataset,
        class_names=[*class_names_of(_export(outputs, ROBUST))],
        judged=_judged(_export(outputs, ROBUST)),
        seed=config.seed,
        threat=config.threat,
        suite=str(config.attack.suite),
        attacks={str(each.name): each.effort(config.threat) for each in attacks_of(stages)},
        examples=example_counts(statistics, list(config.data.splits)),
        models={model: accuracies(tally, model, stages) for model in MODELS},
        training={model: _training(outputs, model) for model in MODELS},
        checks=read_checks(attacked),
        gates=read_explanations(blessing.uri),
        serving_problems=read_problems(outputs.artifact("ServingCheck", "blessing").uri),
        blessed=is_blessed(blessing),
        withdrawn=withdrawal(blessing) or _signed(pushed, WITHDRAWN),
        forced=_signed(pushed, FORCED),
        pushed=pushed_by(outputs),
        nodes=nodes,
        tuning=tuning(config, outputs) if config.tuner.trials else None,
        caveats=[
            *notes(accepted[ACCEPTED_CLASSES].string_value, read_rivalry(challenged).note),
            *guessing(tally),
        ],
        seconds=0.0,
    )


def attacked_rows(config: RunConfig, outputs: RunOutputs) -> Attacked:
    """The rows by which the gates judged."""
    attacked = outputs.artifact("AdversarialExampleGen", "adversarial_examples").uri
    challenged = outputs.artifact("ChampionChallenge", "challenged_examples").uri
    both = [attacked, challenged] if read_rivalry(challenged).champion else [attacked]
    folders = [os.path.join(each, "Split-test") for each in both]
    return Attacked(folders=folders, shape=config.data.image_shape)


def _judged(export: str) -> Judged:
    """A model as the nodes attacked it: through the same door."""
    names = class_names_of(export)
    return dataclasses.replace(
        load_export(export).judged, class_names=names, named_by="the model" if names else ""
    )


def _signed(pushed: Any, name: str) -> Signature | None:
    """Who did by hand what kept the Pusher from a push, where it found that."""
    text = pushed[name].string_value if name in pushed else ""
    return Signature(**json.loads(text)) if text else None


def notes(accepted_classes: str, rivalry: str) -> list[str]:
    """What the data gate and the comparison with the champion leave to say."""
    found = []
    if accepted_classes:
        found.append(f"Other classes than the last span's were accepted: {accepted_classes}.")
    if rivalry:
        found.append(f"In the comparison with the champion, {rivalry}.")
    return found


def guessing(tally: Tally) -> list[str]:
    """That the robust model is not shown to be better than one answer for all images."""
    classes: Counter[int] = Counter()
    for group in tally.subject.groups():
        classes[group.label] += group.sample.count
    images = classes.total()
    right = images - tally.subject.wrong_under(CLEAN).count
    usual = max(classes.values())
    if confidence_interval(right, images)[0] > usual / images:
        return []
    return [
        f"The model is right on {right / images:.2%} of the images without an attack; always "
        f"saying the most frequent class gives {usual / images:.2%}. It is not shown to have "
        "learned anything, and then its other figures say nothing."
    ]


def caveats(config: RunConfig, summary: RunSummary) -> list[str]:
    """What a reader of a push must know beside the notes: that nobody asked whether it is worse
    than what was served before, and how far the worst case lies below what the gates asked for."""
    found = [*summary.caveats, *unasked(config.gates.champion, summary.pushed)]
    search = summary.tuning
    if search and search.trials[0].clean < search.clean_floor:
        found.append(
            f"No trial of the search reached the clean accuracy of {search.clean_floor:.1%} "
            "(tuner.clean_floor) on the validation split; the one with the highest, "
            f"{search.trials[0].clean:.1%}, was taken."
        )
    robust = summary.models[ROBUST]
    claim = max(
        gate.bound
        for gate in gates(config.gates)
        if isinstance(gate, Accuracy | WorstCase | Certified) and gate.argument != (CLEAN,)
    )
    if not summary.pushed or robust.worst_case >= claim:
        return found
    attack, white_box = min(robust.white_box.items(), key=lambda item: item[1])
    return [
        *found,
        f"This push rests on a weak claim. {robust.transfer[FGSM]:.1%} under FGSM is transfer "
        "accuracy: the images were made against the undefended model. Attacked with its own "
        f"gradients ({attack}, the same epsilon of {config.threat.epsilon}) the pushed model is "
        f"right on {white_box:.1%}, and on {robust.worst_case:.1%} in the worst case over all "
        f"attacks. The gates ask for a worst case of {config.gates.worst_case:.1%} only.",
    ]


def unasked(champion: float, pushed: str | None) -> list[str]:
    """That a push took the place of another version, with which no gate compared it."""
    if not pushed or champion > 0.0:
        return []
    base, _, number = pushed.rstrip("/").rpartition("/")
    before = [version for version in versions(base) if int(version) < int(number)]
    return [
        f"This model took the place of version {version}, and may be worse: gates.champion=0 "
        f"compares them in nothing. gates.champion={GatesConfig().champion:g} does."
        for version in before[-1:]
    ]


def tuning(config: RunConfig, outputs: RunOutputs) -> Tuning:
    """All trials of the search."""
    trials = read_trials(outputs.artifact("FrontTuner", "tuner_results").uri)
    front = on_front([[trial[name] or 0.0 for name in SCORES] for trial in trials])
    return Tuning(
        clean_floor=config.tuner.clean_floor,
        trials=[
            Trial(**trial, chosen=place == 0, front=bool(front[place]))
            for place, trial in enumerate(trials)
        ],
    )


def on_front(scores: list[list[float]]) -> npt.NDArray[np.bool_]:
    """Which rows no other row dominates: bool [n]."""
    points = np.asarray(scores)
    at_least = np.all(points[:, None] <= points[None], axis=2)
    better = np.any(points[:, None] < points[None], axis=2)
    return ~np.any(at_least & better, axis=1)


def draw_picture(config: RunConfig, class_names: Sequence[str], rows: str, path: Path) -> None:
    """The grid of FGSM images made against the undefended model. rows: folder of the rows."""
    shape, threat = config.data.image_shape, config.threat
    shown = some_rows(rows, Origin(FGSM, UNDEFENDED), PICTURE_IMAGES, shape)
    epsilon = shown_epsilon(threat.epsilon)
    caption = f"{FGSM} against the undefended model, {threat.norm}, epsilon {epsilon}"
    draw_grid(shown, class_names, caption, path)


def _training(outputs: RunOutputs, model: str) -> Training:
    """How a model was trained, epoch by epoch."""
    history = read_history(_export(outputs, model))
    return Training(epochs=[*map(dict, history.epochs)], best_epoch=history.best_epoch)


def _export(outputs: RunOutputs, model: str) -> str:
    """Folder of a model's SavedModel."""
    artifact = outputs.artifact(f"Trainer.{model}", "model")
    return str(path_utils.serving_model_path(artifact.uri))
