"""How rows come to the gates in TFMA: grouped by image, without their pixels.

TFX's Evaluator calls `custom_extractors`. TFMA reads rows, asks the model and unbatches; here the
unbatching also brings the rows of an image together and lets one of them carry the image's
outcome. So what is counted afterwards is one thing an image, and no accumulator has an entry for
each. (TFMA's own `query_key` groups one step later, with all that it then knows of a row, 3,400
bytes without the pixels, and by image; here a bucket of images comes together, from each batch as
one compressed string, because a runner that keeps what it groups in memory pays for each element.)

Attack and label go with a row, and what an EvalConfig asks for beyond ours: the features of its
slices, and for other metrics labels, predictions and weights. The rest of the row ends here.
"""

import logging
import pickle
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.extractors import extractor, unbatch_extractor
from tensorflow_model_analysis.utils import util

from components.evaluator.metrics import OUTCOME, RIGHT, RowAccuracy
from components.evaluator.outcome import IntArray, RowOutcome, image_outcome, row_outcomes
from components.records.names import ATTACK, CLEAN, LABEL, ROBUST
from components.records.record import IMAGE, Rows
from foundation.events import Fields

log = logging.getLogger("gauntlet.evaluator")

Extracts = dict[str, Any]
Part = tuple[RowOutcome, Extracts]

BUCKETS = 64
"""Parts into which images are shuffled: enough for the workers of a cluster, and few enough that
a batch of rows leaves several in each."""

FOR_OTHERS = (constants.LABELS_KEY, constants.PREDICTIONS_KEY, constants.EXAMPLE_WEIGHTS_KEY)


def custom_extractors(
    eval_shared_model: Any,
    eval_config: Any,
    tensor_adapter_config: Any,
    challenged: bool = False,
) -> list[extractor.Extractor]:
    """TFMA's extractors, with the unbatching replaced. challenged: whether ChampionChallenge looked
    for a champion."""
    extractors = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    stage = unbatch_extractor.UNBATCH_EXTRACTOR_STAGE_NAME
    by_image = extractor.Extractor(stage_name=stage, ptransform=ByImage(eval_config, challenged))
    return [by_image if each.stage_name == stage else each for each in extractors]


class ByImage(beam.PTransform):
    """From batches of rows to one extract a row, of which one of each image carries its outcome."""

    def __init__(self, eval_config: Any, challenged: bool = False) -> None:
        super().__init__()
        self._config, self._challenged = eval_config, challenged

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        return (
            batches
            | "Rows" >> beam.FlatMap(packed_rows, self._config, self._challenged)
            | "Buckets" >> beam.GroupByKey()
            | "Images" >> beam.FlatMapTuple(images_of_bucket)
            | "Extracts" >> beam.FlatMapTuple(image_extracts)
        )


def packed_rows(
    batch: Extracts, eval_config: Any, challenged: bool = False
) -> Iterator[tuple[int, bytes]]:
    """The rows of a batch by the bucket of their images: of each the image's id, the outcome, and
    what else is needed of it."""
    features = batch[constants.FEATURES_KEY]
    rows = Rows.of_features({name: features[name] for name in features.keys() - {IMAGE}})
    outcomes = row_outcomes(rows, served(batch, eval_config), challenged)
    rest = util.split_extracts(needed(batch, eval_config)) or [{}] * len(rows)
    buckets: defaultdict[int, list[tuple[bytes, Part]]] = defaultdict(list)
    for (identity, outcome), extract in zip(outcomes, rest, strict=True):
        buckets[zlib.crc32(identity) % BUCKETS].append((identity, (outcome, extract)))
    log.info("judging", extra=Fields(advance=len(rows), unit="rows"))
    for bucket, content in buckets.items():
        yield bucket, zlib.compress(pickle.dumps(content), level=1)


def images_of_bucket(bucket: int, packed: Iterable[bytes]) -> Iterator[tuple[bytes, list[Part]]]:
    """The rows of each image of a bucket."""
    images: defaultdict[bytes, list[Part]] = defaultdict(list)
    for content in packed:
        for identity, part in pickle.loads(zlib.decompress(content)):
            images[identity].append(part)
    yield from images.items()


def needed(batch: Extracts, eval_config: Any) -> Extracts:
    """What slices and other metrics than ours need of a batch, except attack and label."""
    slices = eval_config.slicing_specs
    keys = {key for spec in slices for key in (*spec.feature_keys, *spec.feature_values)}
    features = {
        key: batch[constants.FEATURES_KEY][key]
        for key in keys - {ATTACK, LABEL}
        if key in batch[constants.FEATURES_KEY]
    }
    kept = {key: batch[key] for key in FOR_OTHERS if key in batch and others(eval_config)}
    return kept | ({constants.FEATURES_KEY: features} if features else {})


def others(eval_config: Any) -> bool:
    """Whether there are other metrics than ours."""
    options = eval_config.options
    metrics = [metric for spec in eval_config.metrics_specs for metric in spec.metrics]
    return (
        not options.HasField("include_default_metrics")
        or options.include_default_metrics.value
        or any(metric.module != RowAccuracy.__module__ for metric in metrics)
    )


def served(batch: Extracts, eval_config: Any) -> IntArray:
    """The classes that the candidate gives as it is served: int64 [n]; -1 where an output is not
    finite."""
    (model,) = eval_config.model_specs
    outputs = util.StandardExtracts(batch).get_predictions()
    if isinstance(outputs, Mapping):
        outputs = outputs[model.prediction_key]
    outputs = np.asarray(outputs)
    return np.where(np.isfinite(outputs).all(axis=1), outputs.argmax(axis=1), -1)


def image_extracts(identity: bytes, parts: list[Part]) -> Iterator[Extracts]:
    """The extracts of an image's rows, of which the clean one carries the outcome; where there is
    none, the first by attack."""
    parts = sorted(parts, key=lambda part: (part[0].attack != CLEAN, part[0].attack))
    outcome = image_outcome(identity, [row for row, _ in parts])
    for place, (row, extract) in enumerate(parts):
        features = {
            ATTACK: np.array([row.attack.encode()], object),
            LABEL: np.array([row.label]),
        }
        yield extract | {
            constants.FEATURES_KEY: extract.get(constants.FEATURES_KEY, {}) | features,
            RIGHT: row.answers[ROBUST].right,
            OUTCOME: None if place else outcome,
        }
