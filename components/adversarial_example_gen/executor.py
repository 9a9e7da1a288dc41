"""Attacks the trained models through Beam, writes the images, reads them back and checks them."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
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
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils

from components.adversarial_example_gen.config import AttackConfig
from components.adversarial_example_gen.rows import CLEAN, Row, attack_column
from robustness.attacks import Attacker, describe, image_seeds
from robustness.ball import inside_ball
from robustness.config import ThreatModel
from robustness.errors import RunError

log = logging.getLogger("gauntlet.adversarial_example_gen")
METRICS = "gauntlet.adversarial_example_gen"
MODELS = ("undefended", "robust")


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
            name: path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict[name])) for name in MODELS
        }
        output = artifact_utils.get_single_instance(output_dict["adversarial_examples"])
        output.split_names = artifact_utils.encode_split_names([split])
        examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        written = os.path.join(artifact_utils.get_split_uri([output], split), "rows")
        attack = AttackImages(
            transform=artifact_utils.get_single_uri(input_dict["transform_graph"]),
            models=models,
            threat=threat,
            config=config,
            seed=exec_properties["seed"],
        )
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.io.ReadFromTFRecord(
                    io_utils.all_files_pattern(artifact_utils.get_split_uri(input_dict["examples"], split))
                )
                | beam.Reshuffle()
                | beam.BatchElements(min_batch_size=config.batch_size, max_batch_size=config.batch_size)
                | "Attack" >> beam.ParDo(attack)
                # Not compressed: noise does not shrink, and gzip would cost more than the attack.
                | beam.io.WriteToTFRecord(written, file_name_suffix=".tfrecord")
            )
        attacked = count(pipeline, "attacked")
        self._check(f"{written}-*.tfrecord", threat, 1 + len(config.names) * len(models), attacked)

    def _check(self, pattern: str, threat: ThreatModel, rows_per_image: int, images: int) -> None:
        """Read the images back as they were written, and judge each against its clean original."""
        log.info("checking what was written")
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.io.ReadFromTFRecord(pattern)
                | beam.Map(image_by_id)
                | beam.GroupByKey()
                | "Check" >> beam.ParDo(CheckImages(threat, rows_per_image))
            )
        checked, outside, incomplete = (count(pipeline, name) for name in ("checked", "outside", "incomplete"))
        if outside or incomplete or checked != images:
            raise RunError(
                f"the attacked images that were written are not valid: {images} images were attacked, {checked} were "
                f"read back, {incomplete} of them with missing rows; {outside} attacked images lie outside the "
                f"{threat.norm} ball of radius {threat.epsilon} or outside [0, 1]"
            )
        log.info("%d images, %d rows each, all inside the ball: %s", checked, rows_per_image, pattern)


class AttackImages(beam.DoFn):
    """Batches of serialized examples to serialized rows: each image clean and under every attack."""

    def __init__(
        self, transform: str, models: dict[str, str], threat: ThreatModel, config: AttackConfig, seed: int
    ) -> None:
        self._transform = transform
        self._models = models
        self._threat = threat
        self._config = config
        self._seed = seed
        self._shared = Shared()  # one copy of the models in a worker process, not one a thread
        self._attacked = beam.metrics.Metrics.counter(METRICS, "attacked")

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: LoadedModels(self._transform, self._models, self._threat))

    def process(self, batch: Sequence[bytes]) -> Iterator[bytes]:
        x, y, ids = self._loaded.features(batch)
        seeds = image_seeds(ids, self._seed)
        attackers = self._loaded.attackers
        self._attacked.inc(len(ids))

        def rows(images: np.ndarray, attack: str, **record: Any) -> Iterator[bytes]:
            predictions = {name: attacker.predict(images) for name, attacker in attackers.items()}
            for i, (identity, image, label) in enumerate(zip(ids, images, y, strict=True)):
                seen = {name: int(predicted[i]) for name, predicted in predictions.items()}
                yield Row(
                    id=identity, image=image, label=int(label), attack=attack, predictions=seen, **record
                ).serialize()

        yield from rows(x, CLEAN)
        for model, attacker in attackers.items():
            for name in self._config.names:
                x_adv = attacker.run(name, x, y, seeds, self._config)
                record = describe(name, self._threat, self._config)
                record |= {"norm": str(self._threat.norm), "epsilon": self._threat.epsilon, "seed": self._seed}
                yield from rows(x_adv, attack_column(name, model), **record)
        log.info("attacking", extra={"advance": len(ids)})


class LoadedModels:
    """What a worker process loads once: the Transform graph and an attacker for each model."""

    def __init__(self, transform: str, models: dict[str, str], threat: ThreatModel) -> None:
        output = tft.TFTransformOutput(transform)
        self._spec = {name: output.raw_feature_spec()[name] for name in ("image", "label", "id")}
        self._layer = output.transform_features_layer()
        self.attackers = {
            name: Attacker(tf_keras.models.load_model(path, compile=False), threat) for name, path in models.items()
        }

    def features(self, batch: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, list[bytes]]:
        """Serialized raw examples to images float32 [n, h, w, c], labels int64 [n] and ids."""
        raw = tf.io.parse_example(tf.constant(batch), self._spec)
        ids = raw.pop("id").numpy().ravel().tolist()
        transformed = self._layer(raw)
        return transformed["image"].numpy(), transformed["label"].numpy(), ids


class CheckImages(beam.DoFn):
    """Judges the rows of one image: counts the checked, the incomplete, and images outside the ball."""

    def __init__(self, threat: ThreatModel, rows_per_image: int) -> None:
        self._threat = threat
        self._rows = rows_per_image
        self._counters = {n: beam.metrics.Metrics.counter(METRICS, n) for n in ("checked", "incomplete", "outside")}

    def process(self, group: tuple[bytes, Iterable[tuple[str, bytes]]]) -> None:
        rows = {attack: np.frombuffer(image, np.float32) for attack, image in group[1]}
        self._counters["checked"].inc()
        if len(rows) != self._rows or CLEAN not in rows:
            self._counters["incomplete"].inc()
            return
        x = rows.pop(CLEAN)
        x_adv = np.stack(list(rows.values()))
        inside = inside_ball(x_adv, np.broadcast_to(x, x_adv.shape), self._threat)
        self._counters["outside"].inc(int(np.sum(~inside.numpy())))


def image_by_id(serialized: bytes) -> tuple[bytes, tuple[str, bytes]]:
    """A written row as (id, (attack, pixels float32 as bytes))."""
    features = tf.train.Example.FromString(serialized).features.feature
    pixels = np.asarray(features["image"].float_list.value, np.float32)
    attack = features["attack"].bytes_list.value[0].decode()
    return features["id"].bytes_list.value[0], (attack, pixels.tobytes())


def count(pipeline: beam.Pipeline, name: str) -> int:
    """Value of one of this module's counters after the pipeline has run."""
    wanted = beam.metrics.MetricsFilter().with_namespace(METRICS).with_name(name)
    return sum(found.committed or 0 for found in pipeline.result.metrics().query(wanted)["counters"])
