"""Judges the trained models through Beam, writes the attacked images, reads them back and checks
them.

Each image makes five rows: clean, FGSM against either model, and the suite's strongest image
against either. The honesty checks look at the robust model first; what they found stands in
`checks.json` and, by name, on every row.
"""

import dataclasses
import json
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pydantic
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from apache_beam.utils.shared import Shared
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from components.adversarial_example_gen.config import AttackConfig
from components.records.columns import (
    CHECKS,
    CLEAN,
    FGSM,
    MODELS,
    NO_BOUND,
    ROBUST,
    STRONGEST,
    UNDEFENDED,
    attack_column,
)
from components.records.rows import Row
from components.records.shards import list_shards, read_shards, shard_path, write_shard
from foundation.errors import RunError
from foundation.seeds import image_seeds
from robustness.ball import inside_ball
from robustness.checks import SAMPLE, Subject, run_checks
from robustness.config import Check, Fgsm, ThreatModel
from robustness.evaluation import Judge, stage_name
from robustness.suites import Stage
from trainer.dataset import raw_parser
from trainer.load import serving_signature

log = logging.getLogger("gauntlet.adversarial_example_gen")
METRICS = "gauntlet.adversarial_example_gen"

BATCH = 500
"""Images attacked at once; it changes speed and memory, not results."""


class Executor(BaseBeamExecutor):
    """Executor of AdversarialExampleGen."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Attack, write, read back, check.

        Raises:
            RunError: a written image lies outside its ball or outside [0, 1], or a row is missing.
        """
        threat = pydantic.TypeAdapter(ThreatModel).validate_json(exec_properties["threat"])
        config = pydantic.TypeAdapter(AttackConfig).validate_json(exec_properties["attack"])
        split = exec_properties["split"]
        models = {
            name: path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[name]))
            for name in MODELS
        }
        output = artifact_utils.get_single_instance(output_dict["adversarial_examples"])
        output.split_names = artifact_utils.encode_split_names([split])
        examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        task = AttackTask(
            transform=artifact_utils.get_single_uri(input_dict["transform_graph"]),
            models=models,
            threat=threat,
            stages=config.stages,
            seed=exec_properties["seed"],
        )
        inputs = list_shards(artifact_utils.get_split_uri(input_dict["examples"], split))
        folder = artifact_utils.get_split_uri([output], split)
        # Not compressed: noise does not shrink, and gzip would cost as much as the attack.
        outputs = [shard_path(folder, i, len(inputs), compressed=False) for i in range(len(inputs))]
        with self._make_beam_pipeline() as pipeline:
            checks = (
                pipeline
                | "Sample" >> beam.Create([(inputs, os.path.join(output.uri, CHECKS))])
                | "CheckModel" >> beam.ParDo(CheckModel(task, config.checks))
            )
            _ = (
                pipeline
                | beam.Create(list(zip(inputs, outputs, strict=True)))
                | beam.Reshuffle()
                | "Attack" >> beam.ParDo(AttackShard(task), checks=beam.pvalue.AsSingleton(checks))
            )
        self._check(folder, threat, 1 + 2 * len(models), count(pipeline, "attacked"))

    def _check(self, folder: str, threat: ThreatModel, rows_per_image: int, images: int) -> None:
        """Read the images back as they were written, and judge each against its clean original."""
        log.info("checking what was written")
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(list_shards(folder))
                | beam.Reshuffle()
                | "Check" >> beam.ParDo(CheckShard(threat, rows_per_image))
            )
        checked, outside, incomplete = (
            count(pipeline, name) for name in ("checked", "outside", "incomplete")
        )
        if outside or incomplete or checked != images:
            raise RunError(
                f"the attacked images that were written are not valid: {images} images were "
                f"attacked, {checked} were read back, {incomplete} of them with missing rows; "
                f"{outside} attacked images lie outside the {threat.norm} ball of radius "
                f"{threat.epsilon} or outside [0, 1]"
            )
        log.info(
            "%d images, %d rows each, all inside the ball: %s", checked, rows_per_image, folder
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackTask:
    """What the workers need to know. transform: folder of the Transform graph. models: folder of
    each export."""

    transform: str
    models: dict[str, str]
    threat: ThreatModel
    stages: tuple[Stage, ...]
    seed: int


class _Worker(beam.DoFn):
    """Holds the models: one copy in a worker process, not one a thread."""

    def __init__(self, task: AttackTask) -> None:
        self._task = task
        self._shared = Shared()

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: LoadedModels(self._task))


class CheckModel(_Worker):
    """Runs the honesty checks on the robust model, writes them to a file, and gives the list; empty
    where they are not wanted."""

    def __init__(self, task: AttackTask, wanted: bool) -> None:
        super().__init__(task)
        self._wanted = wanted

    def process(self, paths: tuple[list[str], str]) -> Iterator[list[Check]]:
        sources, target = paths
        found = list(self._found(sources)) if self._wanted else []
        fileio.makedirs(os.path.dirname(target))
        with fileio.open(target, "w") as file:
            file.write(json.dumps([dataclasses.asdict(check) for check in found], indent=2))
        yield found

    def _found(self, sources: list[str]) -> Iterator[Check]:
        sample = read_shards(sources).take(SAMPLE).batch(SAMPLE).get_single_element().numpy()
        x, y, ids = self._loaded.features(sample)
        judges = self._loaded.judges
        subject = Subject(
            attacker=judges[ROBUST].attacker,
            x=x,
            y=y,
            ids=ids,
            seed=self._task.seed,
            serve=serving_signature(self._task.models[ROBUST]),
            sources={UNDEFENDED: judges[UNDEFENDED].attacker.model},
            certifier=judges[ROBUST].certifier,
        )
        for check in run_checks(subject):
            log.info("check %s", check.name)
            yield check


class AttackShard(_Worker):
    """Reads a shard of examples and writes a shard of rows: each image clean and under every
    attack."""

    def __init__(self, task: AttackTask) -> None:
        super().__init__(task)
        self._attacked = beam.metrics.Metrics.counter(METRICS, "attacked")

    def process(self, paths: tuple[str, str], checks: list[Check]) -> None:
        source, target = paths
        write_shard(target, self._rows(source, checks))

    def _rows(self, source: str, checks: list[Check]) -> Iterator[bytes]:
        for batch in read_shards([source]).batch(BATCH).as_numpy_iterator():
            x, y, ids = self._loaded.features(batch)
            yield from self._judged(x, y, ids, checks)
            self._attacked.inc(len(batch))
            log.info("attacking", extra={"advance": len(batch)})

    def _judged(
        self, x: np.ndarray, y: np.ndarray, ids: list[bytes], checks: list[Check]
    ) -> Iterator[bytes]:
        """All rows of a batch."""
        judges, threat, seed = self._loaded.judges, self._task.threat, self._task.seed
        verdicts = {model: judge.judge(x, y, ids, seed) for model, judge in judges.items()}
        images, seeds = {CLEAN: x}, image_seeds(ids, seed)
        for model, judge in judges.items():
            images[attack_column(FGSM, model)] = judge.attacker.run(Fgsm(), x, y, seeds)
            images[attack_column(STRONGEST, model)] = verdicts[model].x_adv
        judged_by = {
            model: ",".join(map(stage_name, judge.ordered())) for model, judge in judges.items()
        }
        passed, failed = (
            ",".join(c.name for c in checks if c.passed is wanted) for wanted in (True, False)
        )
        for column, shown in images.items():
            attacked = column != CLEAN
            predictions = {model: judge.attacker.predict(shown) for model, judge in judges.items()}
            for i, identity in enumerate(ids):
                yield Row(
                    id=identity,
                    image=shown[i],
                    label=int(y[i]),
                    attack=column,
                    norm=str(threat.norm) if attacked else "",
                    epsilon=threat.epsilon if attacked else 0.0,
                    seed=seed,
                    predictions={
                        model: int(predicted[i]) for model, predicted in predictions.items()
                    },
                    broken_by={
                        model: str(verdict.broken_by[i]) for model, verdict in verdicts.items()
                    },
                    certified_by={
                        model: str(verdict.certified_by[i]) if judges[model].certifier else NO_BOUND
                        for model, verdict in verdicts.items()
                    },
                    judged_by=judged_by,
                    passed_checks=passed,
                    failed_checks=failed,
                ).serialize()


class LoadedModels:
    """What a worker process loads once: the Transform graph and a judge for each model."""

    def __init__(self, task: AttackTask) -> None:
        self._parse = raw_parser(tft.TFTransformOutput(task.transform))
        self.judges = {}
        for name, path in task.models.items():
            model = tf_keras.models.load_model(path, compile=False)
            self.judges[name] = Judge(model, task.threat, task.stages, model.input_shape[1:])

    def features(self, batch: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
        """Serialized raw examples to images float32 [n, h, w, c], labels int64 [n] and ids."""
        parsed = {name: column.numpy() for name, column in self._parse(tf.constant(batch)).items()}
        return parsed["image"], parsed["label"], parsed["id"].tolist()


class CheckShard(beam.DoFn):
    """Judges a written shard: counts images checked, images with missing rows, and rows outside the
    ball."""

    def __init__(self, threat: ThreatModel, rows_per_image: int) -> None:
        self._threat = threat
        self._rows = rows_per_image
        self._counters = {
            n: beam.metrics.Metrics.counter(METRICS, n)
            for n in ("checked", "incomplete", "outside")
        }

    def process(self, path: str) -> None:
        ids, attacks, images = read_images(path)
        clean = {identity: row for row, identity in enumerate(ids) if attacks[row] == CLEAN}
        rows = Counter(ids)
        self._counters["checked"].inc(len(rows))
        complete = {
            identity for identity, n in rows.items() if n == self._rows and identity in clean
        }
        self._counters["incomplete"].inc(len(rows) - len(complete))
        attacked = [
            row
            for row, identity in enumerate(ids)
            if attacks[row] != CLEAN and identity in complete
        ]
        originals = [clean[ids[row]] for row in attacked]
        x_adv, x = (
            tf.gather(images, tf.constant(chosen, tf.int64)) for chosen in (attacked, originals)
        )
        inside = inside_ball(x_adv, x, self._threat)
        self._counters["outside"].inc(int(tf.reduce_sum(tf.cast(~inside, tf.int64))))


def read_images(path: str) -> tuple[list[bytes], list[str], tf.Tensor]:
    """A written shard as ids, attacks and pixels: float32 [rows, pixels]."""
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", "attack")}
    spec["image"] = tf.io.VarLenFeature(tf.float32)
    serialized = list(read_shards([path]).as_numpy_iterator())
    rows = tf.io.parse_example(serialized, spec)
    images = tf.sparse.to_dense(
        rows["image"], default_value=math.nan
    )  # a row with too few pixels must not pass
    return rows["id"].numpy().tolist(), rows["attack"].numpy().astype(str).tolist(), images


def count(pipeline: beam.Pipeline, name: str) -> int:
    """Value of one of this module's counters after the pipeline has run."""
    wanted = beam.metrics.MetricsFilter().with_namespace(METRICS).with_name(name)
    return sum(
        found.committed or 0 for found in pipeline.result.metrics().query(wanted)["counters"]
    )
