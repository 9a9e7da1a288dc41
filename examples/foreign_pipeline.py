"""A TFX pipeline that is not ours, with our attack and our gates: its own data, its own Trainer,
and a model that is pushed only when it withstands.

    python examples/foreign_pipeline.py FOLDER 0.95

FOLDER is where everything is written, 0.95 the worst case that the model must reach, which it does
not: the exit code is 1, and the last line says why. With 0.5 it is pushed, and nothing is trained
or attacked again. Ours are three things: the signature that `run_fn` exports,
AdversarialExampleGen, and ExplainedEvaluator with its gates.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # before TensorFlow is imported

import numpy as np
import tensorflow as tf
import tf_keras
from ml_metadata import MetadataStore
from tfx import v1 as tfx

from components.adversarial_example_gen.component import AdversarialExampleGen
from components.adversarial_example_gen.config import AttackConfig
from components.evaluator.component import ExplainedEvaluator
from components.evaluator.eval_config import eval_config
from components.evaluator.explained import read_explanations
from components.evaluator.gate import Accuracy, WorstCase
from components.records.names import CLEAN
from components.records.signature import transformed_examples
from robustness.config import Norm, ThreatModel

SHAPE, CLASSES, IMAGES = (8, 8, 1), 3, 600


def write_images(path: Path) -> None:
    """Grey noise with a bright band, whose place tells the class."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for label in rng.integers(CLASSES, size=IMAGES).tolist():
            image = rng.integers(0, 90, size=SHAPE, dtype=np.uint8)
            image[2 * label + 1 : 2 * label + 3] += 120
            example = tf.train.Example()
            example.features.feature["label"].int64_list.value.append(label)
            png = tf.io.encode_png(image).numpy()
            example.features.feature["image"].bytes_list.value.append(png)
            writer.write(example.SerializeToString())


def run_fn(arguments: Any) -> None:
    """Train a small network and export it; TFX's Trainer calls this."""

    def parsed(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = {"image": tf.io.FixedLenFeature([], tf.string)}
        features["label"] = tf.io.FixedLenFeature([], tf.int64)
        example = tf.io.parse_single_example(record, features)
        image = tf.ensure_shape(tf.io.decode_png(example["image"]), SHAPE)
        return tf.cast(image, tf.float32) / 255, example["label"]

    files = tf.io.gfile.glob(arguments.train_files)
    images = tf.data.TFRecordDataset(files, "GZIP").map(parsed).batch(20)
    tf_keras.utils.set_random_seed(0)
    layers = [tf_keras.layers.Flatten(input_shape=SHAPE), tf_keras.layers.Dense(CLASSES)]
    model = tf_keras.Sequential(layers)
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, epochs=30, verbose=0)
    signatures = {"transformed_examples": transformed_examples(model, SHAPE)}
    folder = arguments.serving_model_dir
    model.save(folder, save_format="tf", include_optimizer=False, signatures=signatures)


def create_pipeline(
    folder: Path, worst_case: float, attack: AttackConfig | None = None
) -> tfx.dsl.Pipeline:
    """Read, train, attack, evaluate, push.

    Args:
        folder: where the images are, in `data`, and everything is written.
        worst_case: share of images that a model must get right under every attack.
        attack: suite of attacks; the fast one with all honesty checks unless given.
    """
    examples = tfx.components.ImportExampleGen(input_base=str(folder / "data"))
    trainer = tfx.components.Trainer(
        run_fn="foreign_pipeline.run_fn",
        examples=examples.outputs["examples"],
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
    )
    attacked = AdversarialExampleGen(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        threat=ThreatModel(norm=Norm.LINF, epsilon=0.15),
        attack=attack,
    )
    gates = [
        Accuracy(name="clean", bound=0.9, argument=(CLEAN,)),
        WorstCase(name="worst_case", bound=worst_case),
    ]
    evaluator = ExplainedEvaluator(
        examples=attacked.outputs["adversarial_examples"],
        model=trainer.outputs["model"],
        eval_config=eval_config(gates),
        example_splits=["eval"],
    )
    serving = tfx.proto.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(filesystem=serving),
    )
    metadata = tfx.orchestration.metadata.sqlite_metadata_connection_config
    return tfx.dsl.Pipeline(
        pipeline_name="foreign",
        pipeline_root=str(folder / "artifacts"),
        components=[examples, trainer, attacked, evaluator, pusher],
        metadata_connection_config=metadata(str(folder / "metadata.sqlite")),
        enable_cache=True,
    )


def last_blessing(folder: Path) -> str:
    """Where the last run's Evaluator wrote its verdict, though perhaps in an earlier run."""
    store = MetadataStore(
        tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folder / "metadata.sqlite")
        )
    )
    node = store.get_context_by_type_and_name("node", "foreign.ExplainedEvaluator")
    last = max(execution.id for execution in store.get_executions_by_context(node.id))
    (output,) = [
        artifact
        for event in store.get_events_by_execution_ids([last])
        for artifact in store.get_artifacts_by_id([event.artifact_id])
        if event.path.steps[0].key == "blessing"
    ]
    return str(output.uri)


def run(folder: Path, worst_case: float, attack: AttackConfig | None = None) -> list[str]:
    """Run the pipeline; returns what the gates that refuse the model say, none where it is
    pushed."""
    if not (folder / "data").exists():
        write_images(folder / "data" / "images.tfrecord")
    tfx.orchestration.LocalDagRunner().run(create_pipeline(folder, worst_case, attack))
    gates = read_explanations(last_blessing(folder))
    return [f"{gate.name}: {gate.sentence}" for gate in gates if gate.refuses]


if __name__ == "__main__":
    refusals = run(Path(sys.argv[1]).absolute(), float(sys.argv[2]))
    sys.exit("\n".join(refusals) or None)
