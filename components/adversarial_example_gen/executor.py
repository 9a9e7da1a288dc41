"""Judges models through Beam and writes the attacked images.

Each image makes a clean row, and two for each model: FGSM against it, and the suite's strongest
image. The honesty checks look at the candidate first; what they say lies in a file beside the rows
and, by name, on every row.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from components.adversarial_example_gen.attack import attack, attacked_rows, origins_of
from components.adversarial_example_gen.config import AttackTask
from components.adversarial_example_gen.examples import ExampleReader, Labelled
from components.adversarial_example_gen.networks import export_of, load_networks
from components.manifest import MODEL_SHA256, digest_of
from components.records.checks import names_of, read_checks, write_checks
from components.records.labels import images_of
from components.records.names import CLEAN, NO_BOUND, ROBUST, Origin
from components.records.record import Images, Rows, batch_of
from components.records.shards import list_shards
from components.records.writer import write_rows
from foundation.events import Fields
from foundation.json import dumps
from foundation.whole import write_text
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import Check
from robustness.evaluation import Judge, Verdict, stage_name
from trainer.models.load import serving_signature

log = logging.getLogger("gauntlet.adversarial_example_gen")

TASK = "attack.json"
"""File beside the rows: the properties of an `AttackTask`."""

NO_MODELS = ("examples", "transform_graph")
"""Inputs of the node that are no models; all others are, each under its name."""


class Executor(BaseBeamExecutor):
    """Executor of AdversarialExampleGen."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Check the candidate, then attack all models, write and verify.

        Raises:
            DataError: a model or an example cannot be used.
            RunError: there is no image, or what was written is not right (`write_rows`).
        """
        task = AttackTask.of_properties(exec_properties)
        graph = input_dict.get("transform_graph")
        others = sorted(input_dict.keys() - {ROBUST, *NO_MODELS})
        models = {name: export_of(input_dict[name]) for name in (*others, ROBUST)}
        loader = Loader(
            task=task,
            models=models,
            transform=artifact_utils.get_single_uri(graph) if graph else None,
        )
        examples = input_dict["examples"]
        shards = list_shards(artifact_utils.get_split_uri(examples, task.split))
        output = artifact_utils.get_single_instance(output_dict["adversarial_examples"])
        output.set_string_custom_property(MODEL_SHA256, digest_of(models[ROBUST]))
        write_task(output.uri, task)
        checks = self._checks(loader, shards, output.uri) if task.attack.checks else []
        write_checks(output.uri, checks)
        images = images_of(artifact_utils.get_single_uri(examples), task.split)
        source = AttackedExamples(loader, checks, images)
        write_rows(self._make_beam_pipeline(), source, shards, output, task.split)

    def _checks(self, loader: "Loader", shards: list[str], artifact: str) -> list[Check]:
        """The honesty checks, made by a worker, which has the accelerators."""
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create([shards])
                | "Check" >> beam.ParDo(CheckCandidate(loader, artifact))
            )
        return read_checks(artifact)


def write_task(artifact: str, task: AttackTask) -> None:
    """Write beside the rows how they were attacked."""
    fileio.makedirs(artifact)
    write_text(os.path.join(artifact, TASK), dumps(task.to_properties()))


def read_task(artifact: str) -> AttackTask:
    """Inverse of `write_task`."""
    with fileio.open(os.path.join(artifact, TASK)) as file:
        return AttackTask.of_properties(json.load(file))


@dataclass(frozen=True, kw_only=True)
class Loader:
    """What the workers load. models: folder of each export. transform: of a Transform graph."""

    task: AttackTask
    models: dict[str, str]
    transform: str | None

    def load(self) -> "Loaded":
        return Loaded(self)


class Loaded:
    """A judge for each model, and the reader of the examples that they take."""

    def __init__(self, loader: Loader) -> None:
        networks, task = load_networks(loader.models), loader.task
        candidate = networks[ROBUST]
        self.image_shape = candidate.image_shape
        self.reader = ExampleReader(loader.transform, candidate.image_shape, candidate.classes)
        self.judges = {
            name: Judge(network, task.threat, task.attack.stages, network.image_shape)
            for name, network in networks.items()
        }


class CheckCandidate(beam.DoFn):
    """Runs the honesty checks on the candidate, and writes them into an artifact's folder."""

    def __init__(self, loader: Loader, artifact: str) -> None:
        self._loader, self._artifact = loader, artifact

    def process(self, shards: list[str]) -> None:
        write_checks(self._artifact, list(self._checks(shards)))

    def _checks(self, shards: list[str]) -> Iterator[Check]:
        loaded = self._loader.load()
        sample = loaded.reader.sample(shards, SAMPLE)
        candidate = loaded.judges.pop(ROBUST)
        subject = Subject(
            attacker=candidate.attacker,
            x=sample.x,
            y=sample.y,
            ids=sample.ids,
            seed=self._loader.task.seed,
            serve=serving_signature(self._loader.models[ROBUST]),
            sources={name: other.attacker.model for name, other in loaded.judges.items()},
            certifier=candidate.certifier,
        )
        yield from run_checks(subject)


class AttackedExamples:
    """The rows of raw examples: see `components.records.writer.RowSource`.

    images: how many there are; 0 where nobody knows.
    """

    def __init__(self, loader: Loader, checks: list[Check], images: int = 0) -> None:
        self.threat = loader.task.threat
        attacks = [origin for model in loader.models for origin in origins_of(model)]
        self.origins = (Origin(CLEAN), *attacks)
        self.writes_clean = True
        self._loader = loader
        self._checks = checks
        self._images = images
        self._shared = Shared()  # one copy of the models in a worker process, not one a thread

    def setup(self) -> None:
        self._loaded = self._shared.acquire(self._loader.load)

    def rows(self, shard: str) -> Iterator[Rows]:
        size = batch_of(self._loaded.image_shape)
        for batch in self._loaded.reader.batches(shard, size):
            yield from self._judged(batch)
            log.info("attacking", extra=Fields(advance=len(batch.ids), total=self._images))

    def _judged(self, batch: Labelled) -> Iterator[Rows]:
        """All rows of a batch."""
        judges, seed = self._loaded.judges, self._loader.task.seed
        verdicts: dict[str, Verdict] = {}
        images: dict[Origin, Images] = {}
        for model, judge in judges.items():
            verdicts[model], made = attack(model, judge, batch.x, batch.y, batch.ids, seed)
            images |= made
        clean = self._clean(batch, verdicts)
        yield clean
        attackers = {model: judge.attacker for model, judge in judges.items()}
        yield from attacked_rows(clean, images, attackers)

    def _clean(self, batch: Labelled, verdicts: dict[str, Verdict]) -> Rows:
        n, judges = len(batch.ids), self._loaded.judges

        def all_rows(text: str) -> Any:
            return np.full(n, text, object)

        return Rows(
            id=np.array(batch.ids, object),
            image=batch.x,
            label=batch.y,
            attack=all_rows(CLEAN),
            norm=all_rows(""),
            epsilon=np.zeros(n, np.float32),
            seed=np.full(n, self._loader.task.seed),
            predictions={model: verdict.prediction for model, verdict in verdicts.items()},
            broken_by={
                model: verdict.broken_by.astype(object) for model, verdict in verdicts.items()
            },
            certified_by={
                model: verdict.certified_by.astype(object)
                if judges[model].certifier
                else all_rows(NO_BOUND)
                for model, verdict in verdicts.items()
            },
            judged_by={
                model: all_rows(",".join(map(stage_name, judge.ordered())))
                for model, judge in judges.items()
            },
            passed_checks=all_rows(names_of(self._checks, passed=True)),
            failed_checks=all_rows(names_of(self._checks, passed=False)),
        )
