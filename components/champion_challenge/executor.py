"""Shows the champion what the candidate was shown, attacks it with the same suite, and shows the
candidate the rest."""

import logging
import os
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import pydantic
import tensorflow as tf
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
from components.adversarial_example_gen.executor import BATCH
from components.records.columns import (
    CHAMPION,
    CHECKS,
    CLEAN,
    FGSM,
    MODELS,
    PREDICTION,
    ROBUST,
    STRONGEST,
    attack_column,
)
from components.records.shards import list_shards, read_shards, shard_path, write_shard
from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.config import Fgsm, ThreatModel
from robustness.evaluation import Judge

log = logging.getLogger("gauntlet.champion_challenge")


class Executor(BaseBeamExecutor):
    """Executor of ChampionChallenge."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Read the rows, add the champion, write them.

        Raises:
            RunError: an attack left its ball.
        """
        split = exec_properties["split"]
        output = artifact_utils.get_single_instance(output_dict["challenged_examples"])
        output.split_names = artifact_utils.encode_split_names([split])
        examples_utils.set_payload_format(output, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
        models = {name: serving_path(input_dict[name]) for name in MODELS}
        champion = rival(input_dict)
        challenge = ChallengeShard(
            models=models | ({CHAMPION: champion} if champion else {}),
            threat=pydantic.TypeAdapter(ThreatModel).validate_json(exec_properties["threat"]),
            config=pydantic.TypeAdapter(AttackConfig).validate_json(exec_properties["attack"]),
            seed=exec_properties["seed"],
        )
        source = artifact_utils.get_single_uri(input_dict["adversarial_examples"])
        fileio.makedirs(output.uri)
        fileio.copy(os.path.join(source, CHECKS), os.path.join(output.uri, CHECKS), overwrite=True)
        inputs = list_shards(
            artifact_utils.get_split_uri(input_dict["adversarial_examples"], split)
        )
        folder = artifact_utils.get_split_uri([output], split)
        outputs = [shard_path(folder, i, len(inputs), compressed=False) for i in range(len(inputs))]
        with self._make_beam_pipeline() as pipeline:
            _ = (
                pipeline
                | beam.Create(list(zip(inputs, outputs, strict=True)))
                | beam.Reshuffle()
                | "Challenge" >> beam.ParDo(challenge)
            )


def serving_path(artifacts: list[Artifact]) -> str:
    """Folder of an exported model."""
    return str(path_utils.serving_model_path(artifact_utils.get_single_uri(artifacts)))


def rival(input_dict: dict[str, list[Artifact]]) -> str | None:
    """Folder of the champion, if there is one that the candidate can be compared with."""
    if not input_dict.get(CHAMPION):
        log.info("there is no blessed model yet: the candidate has no rival")
        return None
    candidate, champion = (serving_path(input_dict[name]) for name in (ROBUST, CHAMPION))
    if champion == candidate:
        log.info("the candidate is the latest blessed model itself: it has no rival")
        return None
    shapes = [shape_of(path) for path in (candidate, champion)]
    if shapes[0] != shapes[1]:
        log.info(
            "the latest blessed model takes and gives other shapes (%s) than the candidate (%s)",
            *shapes[::-1],
        )
        return None
    log.info("the champion is %s", os.path.dirname(champion))
    return champion


def shape_of(path: str) -> tuple[Any, Any]:
    """Input and output shape of an exported model."""
    model = tf_keras.models.load_model(path, compile=False)
    return model.input_shape, model.output_shape


class ChallengeShard(beam.DoFn):
    """Reads a shard of rows and writes it with the champion's prediction on each (-1 without a
    champion), and the rows of the attacks on the champion."""

    def __init__(
        self, models: dict[str, str], threat: ThreatModel, config: AttackConfig, seed: int
    ) -> None:
        self._models = models
        self._threat = threat
        self._config = config
        self._seed = seed
        self._shared = Shared()

    def setup(self) -> None:
        self._judges = self._shared.acquire(self._load)

    def _load(self) -> "Judges":
        return Judges(self._models, self._threat, self._config)

    def process(self, paths: tuple[str, str]) -> None:
        source, target = paths
        write_shard(target, self._rows(source))

    def _rows(self, source: str) -> Iterator[bytes]:
        rows = [
            tf.train.Example.FromString(record)
            for record in read_shards([source]).as_numpy_iterator()
        ]
        clean = []
        for begin in range(0, len(rows), BATCH):
            batch = rows[begin : begin + BATCH]
            clean += [row for row in batch if text(row, "attack") == CLEAN.encode()]
            predicted = self._judges.predict(CHAMPION, batch)
            for row, prediction in zip(batch, predicted, strict=True):
                yield with_integers(row, {PREDICTION + CHAMPION: prediction})
        if CHAMPION in self._models:
            for begin in range(0, len(clean), BATCH):
                yield from self._attacked(clean[begin : begin + BATCH])

    def _attacked(self, clean: list[tf.train.Example]) -> Iterator[bytes]:
        """The rows of the attacks on the champion."""
        x, judge = self._judges.images(clean), self._judges.champion
        ids = [text(row, "id") for row in clean]
        y = np.array([row.features.feature["label"].int64_list.value[0] for row in clean], np.int64)
        images = {
            FGSM: judge.attacker.run(Fgsm(), x, y, image_seeds(ids, self._seed)),
            STRONGEST: judge.judge(x, y, ids, self._seed).x_adv,
        }
        for attack, shown in images.items():
            predictions = {
                PREDICTION + model: self._judges.attackers[model].predict(shown)
                for model in self._models
            }
            for i, row in enumerate(clean):
                features = row.features.feature
                features["image"].float_list.value[:] = shown[i].ravel().tolist()
                features["attack"].bytes_list.value[:] = [attack_column(attack, CHAMPION).encode()]
                features["norm"].bytes_list.value[:] = [str(self._threat.norm).encode()]
                features["epsilon"].float_list.value[:] = [self._threat.epsilon]
                yield with_integers(row, {name: column[i] for name, column in predictions.items()})
        log.info("attacking the champion", extra={"advance": len(clean)})


class Judges:
    """What a worker process loads once."""

    def __init__(self, models: dict[str, str], threat: ThreatModel, config: AttackConfig) -> None:
        loaded = {
            name: tf_keras.models.load_model(path, compile=False) for name, path in models.items()
        }
        self._shape = loaded[ROBUST].input_shape[1:]
        self.attackers = {name: Attacker(model, threat) for name, model in loaded.items()}
        if CHAMPION in loaded:
            self.champion = Judge(loaded[CHAMPION], threat, config.stages, self._shape)

    def images(self, rows: list[tf.train.Example]) -> np.ndarray:
        """Pixels of rows: float32 [n, h, w, c]."""
        pixels = [row.features.feature["image"].float_list.value for row in rows]
        return np.array(pixels, np.float32).reshape(-1, *self._shape)

    def predict(self, model: str, rows: list[tf.train.Example]) -> np.ndarray:
        """Predictions of a model, int64 [n]; -1 where it is not here."""
        if model not in self.attackers:
            return np.full(len(rows), -1)
        return self.attackers[model].predict(self.images(rows))


def text(row: tf.train.Example, name: str) -> bytes:
    """Value of a feature of bytes."""
    return bytes(row.features.feature[name].bytes_list.value[0])


def with_integers(row: tf.train.Example, values: dict[str, Any]) -> bytes:
    """The row with integer features set, serialized."""
    for name, value in values.items():
        row.features.feature[name].int64_list.value[:] = [int(value)]
    return row.SerializeToString()
