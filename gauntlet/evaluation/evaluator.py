"""One model judged on one split outside of a run: what `gauntlet evaluate` does underneath.

The judge is the one of the pipeline's attack node. Verdicts are written batch by batch, so memory
stays flat, an interrupted evaluation goes on where it stopped, and a repeated one reads them.
"""

import csv
import dataclasses
import hashlib
import json
import logging
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.datasets.batches import Batch, count_images, image_batches
from components.datasets.prepare import PreparedDataset, prepare
from foundation.code import code_hash
from foundation.errors import DataError, RunError
from foundation.events import phase
from foundation.seeds import image_seeds
from gauntlet.evaluation.picture import draw_curve
from robustness.attacks.attacker import Attacker
from robustness.ball import inside_ball
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import AttackName, Norm, ThreatModel
from robustness.corruptions import Corruption, corrupt
from robustness.evaluation import Judge, Verdict, summarise
from robustness.logits import as_logits
from robustness.suites import SuiteName, suite
from robustness.types import Model
from trainer.load import LoadedModel, load_model

log = logging.getLogger("gauntlet.evaluation")

BATCH = 500
"""Images judged, and kept on disk, at once; it changes memory and what an interruption costs, not
results."""


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What to evaluate, and where results go.

    model: file or folder. sources: other models, whose attacks are transferred. epsilons: one
        evaluation each.
    attacks: in place of the suite's own. limit: of images. output: folder of all results.
    """

    model: Path
    output: Path
    dataset: str = "mnist"
    data_dir: str | None = None
    split: str = "test"
    limit: int | None = None
    suite: SuiteName = SuiteName.FAST
    attacks: tuple[AttackName, ...] = ()
    norm: Norm = Norm.LINF
    epsilons: tuple[float, ...] = (0.2,)
    seed: int = 0
    sources: tuple[Path, ...] = ()
    checks: bool = True
    corruptions: bool = False


def run_evaluation(task: EvaluationTask) -> dict[str, Any]:
    """Evaluate; returns what is also written to `results.json` in the folder of the model.

    Raises:
        GauntletError: the model or the data cannot be used, or an attack left its ball.
    """
    with phase("data"):
        prepared = prepare(task.dataset, task.data_dir)
        first = next(image_batches(prepared, task.split, SAMPLE, task.limit))
        for family in (
            Corruption if task.corruptions else ()
        ):  # images that cannot be corrupted are found out now
            corrupt(family, first.x[:1], image_seeds(first.ids[:1], task.seed))
    with phase("model"):
        loaded, *others = (load_model(path) for path in (task.model, *task.sources))
        (model, note), *sources = (usable(each, first) for each in (loaded, *others))
    folder = task.output / f"{loaded.path.name}-{loaded.fingerprint[:12]}"
    evaluation = Evaluation(
        task=task,
        prepared=prepared,
        loaded=loaded,
        model=model,
        sources={
            f"{i}-{path.name}": source
            for i, (path, (source, _)) in enumerate(zip(task.sources, sources, strict=True), 1)
        },
        fingerprint=" ".join(each.fingerprint for each in (loaded, *others)),
        folder=folder,
    )
    results = []
    for epsilon in task.epsilons:
        with phase(f"{task.norm} {epsilon:g}"):
            results.append(evaluation.judged(ThreatModel(norm=task.norm, epsilon=epsilon), first))
    report = {
        "model": str(loaded.path),
        "fingerprint": loaded.fingerprint,
        "dataset": task.dataset,
        "split": task.split,
        "suite": "named attacks" if task.attacks else str(task.suite),
        "notes": [note] if note else [],
        "results": results,
        "corruptions": evaluation.corrupted() if task.corruptions else None,
        "folder": str(folder),
    }
    (folder / "results.json").write_text(json.dumps(report, indent=2))
    draw_curve(results, folder / "curve.png")
    return report


def usable(loaded: LoadedModel, first: Batch) -> tuple[Model, str]:
    """The model as a function to logits, with a note where it gave probabilities.

    Raises:
        DataError: its images or its classes are not those of the data.
    """
    if loaded.image_shape != first.x.shape[1:]:
        raise DataError(
            f"{loaded.path}: the model takes images of shape {loaded.image_shape}, the data has "
            f"{first.x.shape[1:]}"
        )
    classes = tuple(getattr(loaded.model(tf.constant(first.x[:1]), training=False), "shape", ()))
    if len(classes) != 2 or classes[-1] <= first.y.max():
        raise DataError(
            f"{loaded.path}: expected an output [n, k] with k above the largest label, got "
            f"{classes}"
        )
    return as_logits(loaded.model, loaded.image_shape, first.x[:50])


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A task with its data and its models loaded."""

    task: EvaluationTask
    prepared: PreparedDataset
    loaded: LoadedModel
    model: Model
    sources: dict[str, Model]
    fingerprint: str
    folder: Path

    def judged(self, threat: ThreatModel, first: Batch) -> dict[str, Any]:
        """One entry of `results`: the whole split at one epsilon."""
        begin = time.monotonic()
        stages = suite(self.task.suite, self.task.attacks)
        judge = Judge(self.model, threat, stages, self.loaded.image_shape, self.sources)
        work = self._work_folder(threat, stages)
        total = count_images(self.prepared, self.task.split, self.task.limit)
        verdicts, ids = [], []
        for number, batch in enumerate(self._batches()):
            verdicts.append(
                kept_verdict(
                    work / f"batch-{number:05d}-{len(batch.y)}.npz", batch, judge, self.task.seed
                )
            )
            ids += batch.ids
            log.info(
                "%s of %s images judged",
                f"{len(ids):,}",
                f"{total:,}",
                extra={"progress": (len(ids), total)},
            )
        verdict = joined(verdicts)
        write_examples(work / "examples.csv", ids, verdict)
        summary = summarise(verdict, judge)
        return {
            "norm": str(threat.norm),
            "epsilon": threat.epsilon,
            "examples": len(ids),
            "seed": self.task.seed,
            **dataclasses.asdict(summary),
            "checks": self._checks(work, judge, first) if self.task.checks else [],
            "seconds": round(time.monotonic() - begin, 2),
            "examples_file": str(work / "examples.csv"),
        }

    def corrupted(self) -> dict[str, float]:
        """Accuracy on each family of corruptions, over the whole split."""
        predict = Attacker(self.model, ThreatModel(epsilon=0.0)).predict
        right = dict.fromkeys(Corruption, 0)
        total = 0
        with phase("corruptions"):
            for batch in self._batches():
                seeds = image_seeds(batch.ids, self.task.seed)
                for family in Corruption:
                    corrupted = corrupt(family, batch.x, seeds)
                    right[family] += int(np.sum(predict(corrupted) == batch.y))
                total += len(batch.y)
                log.info("corrupting", extra={"advance": len(batch.y)})
        return {str(family): count / total for family, count in right.items()}

    def _batches(self) -> Iterator[Batch]:
        return image_batches(self.prepared, self.task.split, BATCH, self.task.limit)

    def _work_folder(self, threat: ThreatModel, stages: tuple[Any, ...]) -> Path:
        """Where verdicts are kept: another folder for everything that may change them."""
        parts = (
            self.fingerprint,
            list(self.sources),
            self.prepared.fingerprint,
            self.task.split,
            self.task.seed,
            threat,
            stages,
        )
        code = code_hash("robustness", "trainer", "components", "pipeline")
        key = hashlib.sha256("\n".join(map(str, (*parts, code))).encode()).hexdigest()[:8]
        work = self.folder / f"{threat.norm}-{threat.epsilon:g}-{key}"
        work.mkdir(parents=True, exist_ok=True)
        return work

    def _checks(self, work: Path, judge: Judge, first: Batch) -> list[dict[str, Any]]:
        kept = work / f"checks-{len(first.y)}.json"
        if kept.exists():
            return list(json.loads(kept.read_text()))
        subject = Subject(
            attacker=judge.attacker,
            x=first.x,
            y=first.y,
            ids=first.ids,
            seed=self.task.seed,
            serve=self.loaded.serve,
            sources=self.sources,
            certifier=judge.certifier,
        )
        found = []
        for check in run_checks(subject):
            log.info("check %s", check.name)
            found.append(dataclasses.asdict(check))
        write_whole(kept, lambda path: path.write_text(json.dumps(found)))
        return found


def kept_verdict(path: Path, batch: Batch, judge: Judge, seed: int) -> Verdict:
    """The verdict on a batch, from its file; judged and written first where there is none.

    What was written is read back and every attacked image is checked.

    Raises:
        RunError: an attacked image in the file lies outside its ball or [0, 1].
    """
    verdict = read_verdict(path)
    if verdict is None or len(verdict.label) != len(batch.y):
        judged = judge.judge(batch.x, batch.y, batch.ids, seed)
        columns = dataclasses.asdict(judged) | {"seconds": json.dumps(judged.seconds)}
        write_whole(path, lambda partial: np.savez(partial, **columns))
        verdict = read_verdict(path)
        assert verdict is not None
    outside = int(
        np.sum(
            ~np.asarray(inside_ball(tf.constant(verdict.x_adv), tf.constant(batch.x), judge.threat))
        )
    )
    if outside:
        raise RunError(
            f"{path}: {outside} attacked images that were read back lie outside the ball or [0, "
            "1]; remove the file and run the same command again"
        )
    return verdict


def read_verdict(path: Path) -> Verdict | None:
    """The verdict in a file; None when there is no whole one."""
    try:
        with np.load(path) as columns:
            values = dict(columns)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    return Verdict(**values | {"seconds": json.loads(str(values["seconds"]))})


def write_whole(path: Path, write: Any) -> None:
    """Have `write` fill a file beside `path`, and move it into place when it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        write(partial)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def joined(verdicts: list[Verdict]) -> Verdict:
    """One verdict on all images, without the attacked images, which stay on disk."""
    columns: dict[str, npt.NDArray[Any]] = {
        name: np.concatenate([getattr(verdict, name) for verdict in verdicts])
        for name in ("label", "prediction", "broken_by", "certified_by")
    }
    stages = dict.fromkeys(name for verdict in verdicts for name in verdict.seconds)
    seconds = {name: sum(verdict.seconds.get(name, 0.0) for verdict in verdicts) for name in stages}
    return Verdict(**columns, x_adv=np.zeros((0, 0, 0, 0), np.float32), seconds=seconds)


def write_examples(path: Path, ids: list[bytes], verdict: Verdict) -> None:
    """A row an image: id, label, prediction, broken_by, certified_by."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "prediction", "broken_by", "certified_by"])
        columns = (verdict.label, verdict.prediction, verdict.broken_by, verdict.certified_by)
        writer.writerows(zip((identity.decode() for identity in ids), *columns, strict=True))
