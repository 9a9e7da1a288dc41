"""One model judged on one split outside of a run: what `gauntlet evaluate` does underneath.

The judge is the one of the pipeline's attack node. Verdicts are written batch by batch; a repeated
evaluation reads them.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydantic
import tensorflow as tf

from components.datasets.batches import Batch, count_images, image_batches
from components.datasets.prepare import PreparedDataset, prepare
from foundation.code import code_of
from foundation.errors import DataError
from foundation.events import Fields, phase
from foundation.json import dumps
from foundation.seeds import image_seeds
from gauntlet.evaluation.picture import draw_curve
from gauntlet.evaluation.report import Report, Result
from gauntlet.evaluation.task import EvaluationTask
from gauntlet.evaluation.verdicts import joined, kept_verdict, write_examples, write_whole
from robustness.attacks.attacker import Attacker
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import Check, ThreatModel
from robustness.corruptions import Corruption, corrupt
from robustness.evaluation import Judge, Verdict, summarise
from robustness.logits import as_logits
from robustness.types import Model
from trainer.load import LoadedModel, load_model

log = logging.getLogger("gauntlet.evaluation")

BATCH = 500
"""Images judged, and kept on disk, at once; it changes memory and what an interruption costs, not
results."""


def run_evaluation(task: EvaluationTask) -> Report:
    """Evaluate; the report is also written to `results.json` in the folder of the model.

    Raises:
        GauntletError: the model or the data cannot be used, or an attack left its ball.
    """
    with phase("data"):
        prepared = prepare(task.dataset, str(task.data_dir) if task.data_dir else None)
        first = next(image_batches(prepared, task.split, SAMPLE, task.limit))
        if task.corruptions:
            _check_corruptions(first, task.seed)
    with phase("model"):
        evaluation, notes = _loaded(task, prepared, first)
    results = []
    for threat in task.threats:
        with phase(f"{threat.norm} {threat.epsilon:g}"):
            results.append(evaluation.judged(threat, first))
    report = Report(
        model=evaluation.loaded.path,
        fingerprint=evaluation.loaded.fingerprint,
        dataset=task.dataset,
        split=task.split,
        suite="named attacks" if task.attacks else str(task.suite),
        notes=notes,
        results=tuple(results),
        corruptions=evaluation.corrupted() if task.corruptions else None,
        folder=evaluation.folder,
    )
    (report.folder / "results.json").write_text(report.to_json())
    draw_curve(report.results, report.folder / "curve.png")
    return report


def _check_corruptions(first: Batch, seed: int) -> None:
    """Images that cannot be corrupted are found out before anything is judged."""
    for family in Corruption:
        corrupt(family, first.x[:1], image_seeds(first.ids[:1], seed))


def _loaded(
    task: EvaluationTask, prepared: PreparedDataset, first: Batch
) -> tuple["Evaluation", tuple[str, ...]]:
    """The models of a task from disk, and notes on the one that is evaluated."""
    loaded, *others = (load_model(path) for path in (task.model, *task.sources))
    model, note = usable(loaded, first)
    sources = {
        f"{number}-{path.name}": usable(other, first)[0]
        for number, (path, other) in enumerate(zip(task.sources, others, strict=True), 1)
    }
    evaluation = Evaluation(
        task=task,
        prepared=prepared,
        loaded=loaded,
        model=model,
        sources=sources,
        fingerprint=" ".join(each.fingerprint for each in (loaded, *others)),
        folder=task.output / f"{loaded.path.name}-{loaded.fingerprint[:12]}",
    )
    return evaluation, (note,) if note else ()


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
    """A task with its data and its models loaded.

    fingerprint: what the files of all models hash to. folder: place of all results.
    """

    task: EvaluationTask
    prepared: PreparedDataset
    loaded: LoadedModel
    model: Model
    sources: dict[str, Model]
    fingerprint: str
    folder: Path

    def judged(self, threat: ThreatModel, first: Batch) -> Result:
        """The whole split at one epsilon."""
        begin = time.monotonic()
        judge = Judge(self.model, threat, self.task.stages, self.loaded.image_shape, self.sources)
        work = self._work_folder(threat)
        ids, verdict = self._verdict(judge, work)
        write_examples(work / "examples.csv", ids, verdict)
        return Result(
            norm=threat.norm,
            epsilon=threat.epsilon,
            examples=len(ids),
            seed=self.task.seed,
            **vars(summarise(verdict, judge)),
            checks=self._checks(work, judge, first) if self.task.checks else (),
            seconds=round(time.monotonic() - begin, 2),
            examples_file=work / "examples.csv",
        )

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
                log.info("corrupting", extra=Fields(advance=len(batch.y)))
        return {str(family): count / total for family, count in right.items()}

    def _batches(self) -> Iterator[Batch]:
        return image_batches(self.prepared, self.task.split, BATCH, self.task.limit)

    def _verdict(self, judge: Judge, work: Path) -> tuple[list[bytes], Verdict]:
        """Ids of all images, and the verdict on them."""
        total = count_images(self.prepared, self.task.split, self.task.limit)
        verdicts, ids = [], []
        for number, batch in enumerate(self._batches()):
            kept = work / f"batch-{number:05d}-{len(batch.y)}.npz"
            verdicts.append(kept_verdict(kept, batch, judge, self.task.seed))
            ids += batch.ids
            log.info(
                "%s of %s images judged",
                f"{len(ids):,}",
                f"{total:,}",
                extra=Fields(progress=(len(ids), total)),
            )
        return ids, joined(verdicts)

    def _work_folder(self, threat: ThreatModel) -> Path:
        """Where verdicts are kept: another folder for everything that may change them."""
        parts = (
            self.fingerprint,
            list(self.sources),
            self.prepared.fingerprint,
            self.task.split,
            self.task.seed,
            threat,
            self.task.stages,
            code_of(__name__),
        )
        key = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]
        work = self.folder / f"{threat.norm}-{threat.epsilon:g}-{key}"
        work.mkdir(parents=True, exist_ok=True)
        return work

    def _checks(self, work: Path, judge: Judge, first: Batch) -> tuple[Check, ...]:
        """The honesty checks on the first images, from their file where there is one."""
        kept = work / f"checks-{len(first.y)}.json"
        if not kept.exists():
            checks = []
            for check in run_checks(self._subject(judge, first)):
                log.info("check %s", check.name)
                checks.append(check)
            write_whole(kept, lambda path: path.write_text(dumps(checks, indent=None)))
        return pydantic.TypeAdapter(tuple[Check, ...]).validate_json(kept.read_text())

    def _subject(self, judge: Judge, first: Batch) -> Subject:
        return Subject(
            attacker=judge.attacker,
            x=first.x,
            y=first.y,
            ids=first.ids,
            seed=self.task.seed,
            serve=self.loaded.serve,
            sources=self.sources,
            certifier=judge.certifier,
        )
