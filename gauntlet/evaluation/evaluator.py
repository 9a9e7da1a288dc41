"""One model judged on one split outside of a run: what `gauntlet evaluate` does underneath.

The judge is the one of the pipeline's attack node. Verdicts are written batch by batch; a repeated
evaluation reads them.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from components.datasets.batches import Batch, class_names, count_images, image_batches
from components.datasets.prepared import PreparedDataset
from components.evaluator.explained import Explanation
from components.evaluator.tally import Tally
from components.records.table import write_examples
from foundation.code import code_of
from foundation.errors import ConfigError, DataError
from foundation.events import Fields, phase
from foundation.json import dumps
from foundation.sandbox import confinement
from foundation.seeds import image_seeds
from foundation.whole import write_text
from gauntlet.evaluation.budget import until
from gauntlet.evaluation.data import Order, prepared_data
from gauntlet.evaluation.judgement import judged_by, tally_of
from gauntlet.evaluation.picture import draw_curve
from gauntlet.evaluation.report import Report, Result
from gauntlet.evaluation.subject import Chance, chance_of, doubts_about, matched
from gauntlet.evaluation.task import EvaluationTask
from gauntlet.evaluation.verdicts import found_on, joined, kept_verdict
from robustness.attacks.attacker import Attacker
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import Check, ThreatModel, shown_epsilon
from robustness.corruptions import Corruption, corrupt
from robustness.evaluation import Judge, Verdict, stage_name, summarise
from robustness.types import IntArray, Model
from trainer.models.choice import Wanted
from trainer.models.judged import DATA, Judged
from trainer.models.load import LoadedModel, load_model
from trainer.models.pixels import Pixels

log = logging.getLogger("gauntlet.evaluation")

BATCH = 500
"""Images judged, and kept on disk, at once; it changes memory and what an interruption costs, not
results."""

BATCH_IN_TIME = 100
"""The same where the time is bounded, so that less is lost at its end."""

UNKNOWN: dict[str, Any] = {
    "clean": None,
    "worst_case": None,
    "attacks": {},
    "efforts": {},
    "certified": None,
    "certified_by": {},
    "not_certified": None,
    "seconds_by": {},
}
"""What a summary says where no image was judged."""

TRUSTED = (
    "--trust: code in the model's file was allowed to run. It could have changed any number here; "
    "they are worth as much as whoever made the file."
)


def run_evaluation(task: EvaluationTask) -> Report:
    """Prepare the data and evaluate, in this process: see `evaluate_on`."""
    return evaluate_on(Order(task, prepared_data(task)))


def evaluate_on(order: Order) -> Report:
    """Evaluate; the report is also written to `results.json` in the folder of the model.

    Raises:
        GauntletError: the model or the data cannot be used, or an attack left its ball.
    """
    task, prepared = order.task, order.prepared
    with phase("images"):
        first = next(image_batches(prepared, task.split, SAMPLE, task.limit))
        if task.corruptions:
            _check_corruptions(first, task.seed)
    if task.purpose:
        _require_purpose(task, prepared, first)
    with phase("model"):
        evaluation = _loaded(task, prepared, first)
        for word, sentence in evaluation.told():
            log.info("%-8s %s", word, sentence, extra=Fields(stays=True))
    results = []
    for threat in task.threats:
        with phase(f"{threat.norm} {shown_epsilon(threat.epsilon)}"):
            results.append(evaluation.result(threat))
    report = Report(
        model=evaluation.loaded.path,
        judged=evaluation.judged,
        sample=evaluation.chance,
        fingerprint=evaluation.loaded.fingerprint,
        trust=task.trust,
        sandbox=confinement(),
        dataset=task.dataset,
        split=task.split,
        suite="named attacks" if task.attacks else str(task.suite),
        notes=evaluation.notes,
        results=tuple(results),
        corruptions=evaluation.corrupted() if task.corruptions else None,
        folder=evaluation.folder,
    )
    write_text(report.folder / "results.json", report.to_json())
    if all(result.examples for result in results):
        draw_curve(report.results, report.folder / "curve.png")
    return report


def _require_purpose(task: EvaluationTask, prepared: PreparedDataset, first: Batch) -> None:
    """Raises ConfigError where the data is not what was reviewed."""
    assert task.purpose
    height, width, channels = first.x.shape[1:]
    own = replace(
        task.purpose, class_names=class_names(prepared), image_shape=(height, width, channels)
    )
    if differences := own.differences(task.purpose):
        raise ConfigError(
            f"the gates are for another purpose: here {'; '.join(differences)}. Take the data "
            "that they were reviewed for, or write a file for this one"
        )


def _check_corruptions(first: Batch, seed: int) -> None:
    """Images that cannot be corrupted are found out before anything is judged."""
    for family in Corruption:
        corrupt(family, first.x[:1], image_seeds(first.ids[:1], seed))


def _loaded(task: EvaluationTask, prepared: PreparedDataset, first: Batch) -> "Evaluation":
    """The models of a task from disk, fitted to the data."""
    names = class_names(prepared)
    wanted = Wanted(
        image_shape=first.x.shape[1:], sample=first.x, classes=len(names), trust=task.trust
    )
    loaded = load_model(task.model, replace(wanted, signature=task.signature, pixels=task.pixels))
    judged = named(loaded, task.classes, names)
    order = matched(judged.class_names, names)
    others = [_source(path, wanted, names, order) for path in task.sources]
    first = first._replace(y=order[first.y])
    told = [note for other in others for note in _notes_of_source(other, first, task, names)]
    attacker = Attacker(loaded.model, ThreatModel(epsilon=0.0), task.batch)
    chance = chance_of(attacker.predict, first.x, first.y)
    return Evaluation(
        task=task,
        judged=judged,
        prepared=prepared,
        loaded=loaded,
        sources={
            f"{number}-{path.name}": other.model
            for number, (path, other) in enumerate(zip(task.sources, others, strict=True), 1)
        },
        fingerprint=" ".join(each.fingerprint for each in (loaded, *others)),
        folder=task.output / f"{loaded.path.name}-{loaded.fingerprint[:12]}",
        first=first,
        order=order,
        chance=chance,
        notes=(
            *([TRUSTED] if task.trust else []),
            *judged.doubts,
            *doubts_about(attacker, first.x, first.y, chance, task.pixels),
            *told,
        ),
    )


def _source(path: Path, wanted: Wanted, names: tuple[str, ...], order: IntArray) -> LoadedModel:
    """A model whose attacks are transferred; raises DataError where its outputs stand in another
    order than those of the model that is judged."""
    source = load_model(path, wanted)
    own = matched(named(source, (), names).class_names, names)
    if not np.array_equal(own, order):
        raise DataError(
            f"{source.path}: its classes stand in another order than those of the model that is "
            "judged; attacks cannot be transferred between the two"
        )
    return source


def _notes_of_source(
    source: LoadedModel, first: Batch, task: EvaluationTask, names: tuple[str, ...]
) -> Iterator[str]:
    """What a reader must know of a model whose attacks are transferred: they are no attacks at all
    where it does not see what it was trained on.

    first: images, labelled by its outputs. names: of the data's classes.
    """
    attacker = Attacker(source.model, ThreatModel(epsilon=0.0), task.batch)
    chance = chance_of(attacker.predict, first.x, first.y)
    own = named(source, (), names).doubts
    for note in (*own, *doubts_about(attacker, first.x, first.y, chance, Pixels.UNIT)):
        yield f"{source.path}, whose attacks are transferred: {note}"


def named(loaded: LoadedModel, given: tuple[str, ...], names: tuple[str, ...]) -> Judged:
    """What is judged, with the names of its classes: as the user gives them, as its file has them,
    otherwise the data's in the data's order.

    Raises:
        DataError: there are more or fewer names than classes.
    """
    judged = loaded.model.judged
    known = given or loaded.class_names
    if not known:
        doubts = judged.doubts
        if judged.classes > len(names):
            doubts += (
                f"The model has {judged.classes} outputs, the data {len(names)} classes: the first "
                "outputs are taken for them, in the data's order.",
            )
        return replace(judged, class_names=names, named_by=DATA, doubts=doubts)
    if len(known) != judged.classes:
        raise DataError(
            f"{loaded.path}: the model gives {judged.classes} classes, {len(known)} are named: "
            f"{', '.join(known)}"
        )
    return replace(judged, class_names=known, named_by="--classes" if given else "the model")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A task with its data and its models loaded.

    fingerprint: what the files of all models hash to. folder: place of all results.
    first: the first images, labelled by outputs of the model. order: the output of the model for
    each label of the data. judged: what is judged. chance: accuracy on the first images. notes:
    what a reader must know.
    """

    task: EvaluationTask
    judged: Judged
    prepared: PreparedDataset
    loaded: LoadedModel
    sources: dict[str, Model]
    fingerprint: str
    folder: Path
    first: Batch
    order: IntArray
    chance: Chance
    notes: tuple[str, ...]

    def told(self) -> list[tuple[str, str]]:
        """What a person reads before anything is attacked: a word and a sentence each."""
        judged, chance = self.judged, self.chance
        sample = (
            f"right on {chance.right:.1%} of the first {chance.images} clean images; always saying "
            f"the most frequent class gives {chance.chance:.1%}"
        )
        said = [("", sentence) for sentence in judged.said]
        if confined := confinement():
            said.append(("sandbox", str(confined)))
        notes = [("Note:", note) for note in self.notes]
        return [*judged.lines(), *said, ("clean", sample), *notes]

    def result(self, threat: ThreatModel) -> Result:
        """The whole split at one epsilon."""
        begin = time.monotonic()
        model = self.loaded.model
        judge = Judge(
            model, threat, self.task.stages, model.image_shape, self.sources, self.task.batch
        )
        work = self._work_folder(threat)
        ids, verdict = self._verdict(judge, work)
        found = found_on(ids, verdict) if verdict else ()
        write_examples(work / "examples.csv", found, self.judged.class_names)
        checks: tuple[Check, ...] | None = None
        if self.task.checks:
            with until(self.task.deadline):
                checks = self._checks(work, judge)
        undone = tuple(self._undone(len(ids), checks))
        return Result(
            norm=threat.norm,
            epsilon=threat.epsilon,
            examples=len(ids),
            seed=self.task.seed,
            **(vars(summarise(verdict, judge)) if verdict else UNKNOWN),
            checks=checks or (),
            seconds=round(time.monotonic() - begin, 2),
            examples_file=work / "examples.csv",
            gates=self._gates(ids, verdict, judge, checks or ()),
            undone=undone,
        )

    @cached_property
    def _total(self) -> int:
        """How many images were asked for."""
        return count_images(self.prepared, self.task.split, self.task.limit)

    def _undone(self, judged: int, checks: tuple[Check, ...] | None) -> Iterator[str]:
        if not judged:
            yield (
                f"There was time for none of the {self._total:,} images: give more of it "
                "(--budget), since start-up takes some, or fewer images at once (--batch)."
            )
        elif judged < self._total:
            yield f"The time sufficed for {judged:,} of {self._total:,} images."
        if self.task.checks and checks is None:
            yield "The time did not suffice for the honesty checks."

    def _gates(
        self, ids: list[bytes], verdict: Verdict | None, judge: Judge, checks: tuple[Check, ...]
    ) -> tuple[Explanation, ...]:
        """What the gates say, where there are any."""
        if self.task.gates is None:
            return ()
        tally = Tally()
        if verdict:
            stages = map(stage_name, judge.ordered())
            labels = np.argsort(self.order)[np.searchsorted(np.sort(self.order), verdict.label)]
            tally = tally_of(ids, labels, verdict, stages, checks)
        undone = next(self._undone(len(ids), checks), "") if len(ids) < self._total else ""
        return judged_by(self.task.gates, class_names(self.prepared), tally, undone)

    def corrupted(self) -> dict[str, float]:
        """Accuracy on each family of corruptions, over the whole split."""
        predict = Attacker(self.loaded.model, ThreatModel(epsilon=0.0), self.task.batch).predict
        right = dict.fromkeys(Corruption, 0)
        images, total = count_images(self.prepared, self.task.split, self.task.limit), 0
        with phase("corruptions"):
            for batch in self._batches():
                seeds = image_seeds(batch.ids, self.task.seed)
                for family in Corruption:
                    corrupted = corrupt(family, batch.x, seeds)
                    right[family] += int(np.sum(predict(corrupted) == batch.y))
                total += len(batch.y)
                log.info("corrupting", extra=Fields(advance=len(batch.y), total=images))
        return {str(family): count / total for family, count in right.items()}

    def _batches(self) -> Iterator[Batch]:
        size = BATCH if self.task.deadline is None else self.task.batch or BATCH_IN_TIME
        for batch in image_batches(self.prepared, self.task.split, size, self.task.limit):
            yield batch._replace(y=self.order[batch.y])

    def _verdict(self, judge: Judge, work: Path) -> tuple[list[bytes], Verdict | None]:
        """Ids of all images, and the verdict on them; None where the time sufficed for none."""
        judged: list[tuple[list[bytes], Verdict]] = []
        with until(self.task.deadline):
            for number, batch in enumerate(self._batches()):
                kept = work / f"batch-{number:05d}-{len(batch.y)}.npz"
                key = self._key(judge.threat)
                verdict = kept_verdict(kept, batch, judge, self.task.seed, key)
                judged.append((batch.ids, verdict))
                log.info("judging", extra=Fields(advance=len(batch.y), total=self._total))
        ids = [each for ids, _ in judged for each in ids]
        return ids, joined([each for _, each in judged]) if judged else None

    def _key(self, threat: ThreatModel) -> str:
        """Hash of everything that may change verdicts."""
        parts = (
            self.fingerprint,
            list(self.sources),
            self.prepared.fingerprint,
            self.task.split,
            self.task.seed,
            threat,
            self.task.stages,
            self.task.signature,
            self.task.pixels,
            self.task.trust,
            self.order.tolist(),
            self.judged.class_names,
            code_of(__name__),
        )
        return hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()

    def _work_folder(self, threat: ThreatModel) -> Path:
        """Where verdicts are kept: another folder for everything that may change them."""
        work = self.folder / f"{threat.norm}-{threat.epsilon:g}-{self._key(threat)[:16]}"
        work.mkdir(parents=True, exist_ok=True)
        return work

    def _checks(self, work: Path, judge: Judge) -> tuple[Check, ...]:
        """The honesty checks on the first images, from their file where there is a whole one of
        these very settings."""
        kept = work / f"checks-{len(self.first.y)}.json"
        key = self._key(judge.threat)
        read = kept_checks(kept, key)
        if read is not None:
            return read
        checks = list(run_checks(self._subject(judge)))
        write_text(kept, dumps({"key": key, "checks": checks}, indent=None))
        return tuple(checks)

    def _subject(self, judge: Judge) -> Subject:
        return Subject(
            attacker=judge.attacker,
            x=self.first.x,
            y=self.first.y,
            ids=self.first.ids,
            seed=self.task.seed,
            serve=self.loaded.serve,
            sources=self.sources,
            certifier=judge.certifier,
        )


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Checks in their file."""

    key: str
    checks: tuple[Check, ...]


def kept_checks(path: Path, key: str) -> tuple[Check, ...] | None:
    """The checks in a file; None where there is no whole one with this key."""
    try:
        kept = pydantic.TypeAdapter(Kept).validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return kept.checks if kept.key == key else None
