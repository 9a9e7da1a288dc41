"""The exported model: logits inside, softmax only in its signatures.

`tf_keras.models.load_model(directory, compile=False)` gives the network itself, from images in
[0, 1] to logits, ready for a gradient attack. The signatures serve and evaluate:

- `serving_default`: `image` PNG bytes, string [n] -> `class` int64 [n], `label` string [n] (the
  name of the class), `probabilities` float32 [n, k]
- `serialized_examples`: `examples` raw tf.Examples as ExampleGen writes them -> the same
- `transformed_examples`: `examples` tf.Examples of pixels, as the attack writes them ->
  `logits`, `probabilities` float32 [n, k]

Each refuses an empty batch, and what it cannot read as images of the right shape, with an error.
The names of the classes are an asset too, `assets/class_names.txt`; without names there is neither
that nor `label`.
TensorFlow Serving sends the warm-up requests in `assets.extra` to a version before it takes it into
service.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydantic
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from tensorflow_serving.apis import prediction_log_pb2
from tfx.dsl.io import fileio

from foundation.json import dumps
from foundation.whole import write_text
from robustness.types import ImagesTensor, LogitsTensor
from trainer.checkpoints import Metrics
from trainer.classes import CLASS_NAMES, file_of

SETTINGS, HISTORY = "settings.json", "history.json"
"""Files in the export's `assets.extra`, which serving ignores."""

WARM_UP = "tf_serving_warmup_requests"
"""File in `assets.extra` that TensorFlow Serving looks for."""

WARM_UP_BATCHES = (1, 32)
"""Sizes of the batches in it."""


Signatures = Mapping[str, Callable[..., dict[str, tf.Tensor]]]
"""Functions of a SavedModel, by name."""


@dataclass(frozen=True, kw_only=True)
class History:
    """How a model was trained. epochs: metrics of each epoch. best_epoch: the exported one, from
    1."""

    epochs: tuple[Metrics, ...]
    best_epoch: int


def export_model(
    model: tf_keras.Model,
    transform: tft.TFTransformOutput,
    directory: str,
    settings: Mapping[str, object],
    history: Mapping[str, object],
    signatures: Callable[[tf_keras.Model, tft.TFTransformOutput], Signatures] | None = None,
    class_names: tuple[str, ...] = (),
) -> None:
    """Write the SavedModel, and beside it `settings` (resolved configuration and seed) and
    `history` (a `History`), as JSON. signatures: in place of `signatures_of`. class_names: names in
    label order; empty where nobody knows them.

    The model is saved without an optimizer and metrics: TFMA would evaluate compiled metrics again.
    """
    # Cloned under no strategy: an export must not remember the devices of its training.
    clean = tf_keras.models.clone_model(model)
    clean.set_weights(model.get_weights())
    clean.transform = transform.transform_features_layer()
    served = (
        signatures(clean, transform) if signatures else signatures_of(clean, transform, class_names)
    )
    with tempfile.TemporaryDirectory() as folder:
        if class_names:
            names = Path(folder, CLASS_NAMES)
            names.write_bytes(file_of(class_names))
            clean.class_names = tf.saved_model.Asset(str(names))
        clean.save(directory, save_format="tf", include_optimizer=False, signatures=served)
    extra = os.path.join(directory, "assets.extra")
    fileio.makedirs(extra)
    for name, content in ((SETTINGS, settings), (HISTORY, history)):
        write_text(os.path.join(extra, name), dumps(content))
    with tf.io.TFRecordWriter(os.path.join(extra, WARM_UP)) as writer:
        for size in WARM_UP_BATCHES:
            writer.write(warm_up_request(clean.input_shape[1:], size).SerializeToString())


def warm_up_request(
    image_shape: tuple[int, int, int], size: int
) -> prediction_log_pb2.PredictionLog:
    """A request of black images to `serving_default`."""
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    image = tf.io.encode_png(np.zeros(image_shape, np.uint8)).numpy()
    request.inputs["image"].CopyFrom(tf.make_tensor_proto([image] * size))
    return log


def read_history(directory: str) -> History:
    """How an exported model was trained."""
    with fileio.open(os.path.join(directory, "assets.extra", HISTORY)) as file:
        return pydantic.TypeAdapter(History).validate_json(file.read())


def signatures_of(
    model: tf_keras.Model, transform: tft.TFTransformOutput, class_names: tuple[str, ...] = ()
) -> Signatures:
    """The signatures that serve and evaluate a model, by name; with `label` where the classes have
    names."""
    raw_image = {"image": transform.raw_feature_spec()["image"]}
    pixels = {"image": tf.io.FixedLenFeature(model.input_shape[1:], tf.float32)}

    def logits_of(images: ImagesTensor) -> LogitsTensor:
        some = tf.debugging.assert_positive(tf.shape(images)[0], "the batch is empty")
        with tf.control_dependencies([some]):
            return model(tf.identity(images), training=False)

    def classify(images: ImagesTensor) -> dict[str, tf.Tensor]:
        logits = logits_of(images)
        label = tf.argmax(logits, axis=1)
        named = {"label": tf.gather(tf.constant(class_names), label)} if class_names else {}
        return {"class": label, "probabilities": tf.nn.softmax(logits), **named}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
    def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return classify(model.transform({"image": image[:, tf.newaxis]})["image"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serialized_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return classify(model.transform(tf.io.parse_example(examples, raw_image))["image"])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def transformed_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = logits_of(tf.io.parse_example(examples, pixels)["image"])
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    return {
        "serving_default": serving_default,
        "serialized_examples": serialized_examples,
        "transformed_examples": transformed_examples,
    }
