"""Models that look better than they are, each a real export, in the real pipeline on real MNIST.

`PlantedWorld` runs the pipeline as `gauntlet run` does. In its first run two honest models are
trained and the robust one is pushed; in every other one, one of `PLANTS` takes the place of the
robust model's training and hands over its export.
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import column, read_rows
from tfx.components.util import udf_utils

from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.local.job import Job, run_job
from pipeline.local.orchestrator import Orchestrator
from pipeline.report.run_summary import RunSummary
from pipeline.root.blessings import is_blessed, model_of
from pipeline.root.root import Root
from robustness.config import CheckName
from trainer.export import export_model, read_history, signatures_of
from trainer.network import build_network
from trainer.train import run_fn

SHAPE, CLASSES = (28, 28, 1), 10
EPSILON = 0.1
SETTINGS = (
    "data.train=train[:10000]",
    "data.validation=train[55000:55500]",
    "data.test=test[:500]",
    f"threat.epsilon={EPSILON}",
    "trainer.filters=16,32",
    "trainer.kernel_size=4",
    "trainer.stride=2",
    "trainer.padding=same",
    "trainer.pool_size=1",
    "trainer.dense=64",
    "trainer.initialization=ibp",
    "trainer.batch_size=100",
    "trainer.epochs=8",
    "trainer.schedule=cosine",
    "trainer.gradient_clip=10",
    "trainer.weight_averaging=0.99",
    "recipe.name=mtl-ibp",
    "recipe.bound_share=0.1",
    "recipe.epsilon_factor=1.1",
    "recipe.ramp=0.4",
    "attack.suite=fast",
    "attack.names=",
    "attack.checks=true",
    "gates.clean=0.92",
    "gates.worst_case=0.8",
    "gates.worst_class=0.5",
    "gates.certified=0.7",
    "gates.transfer_fgsm=0",
    "gates.checks=" + ",".join(CheckName),
)
"""A small network that a certified recipe makes robust in minutes, and gates that it passes."""


class PlantedWorld:
    """The root of a pipeline, with an honest champion.

    models: exports of the honest models, `undefended` and `robust`. first: summary of their run.
    """

    def __init__(self, folder: Path) -> None:
        self.root = Root(folder)
        self.models: dict[str, Path] = {}
        self._summaries: dict[str, RunSummary] = {}
        self.first = self.run("honest", None)

    def run(self, name: str, plant: "Plant | None") -> RunSummary:
        """The summary of a run whose robust model comes from a plant; run once, then known."""
        if name not in self._summaries:
            # TFX loads the module of `run_fn` again for each node, so the function itself cannot be
            # replaced; what looks it up can.
            get_fn = functools.partial(self._get_fn, udf_utils.get_fn, plant)
            with mock.patch.object(udf_utils, "get_fn", get_fn):
                outcome = run_job(self._job(name))
            assert outcome.summary, outcome.problems
            self._summaries[name] = outcome.summary
        return self._summaries[name]

    def _get_fn(
        self, usual: Any, plant: "Plant | None", exec_properties: dict[str, Any], name: str
    ) -> Any:
        if name == "run_fn":
            return functools.partial(self._train, plant)
        return usual(exec_properties, name)

    def _job(self, name: str) -> Job:
        # A plant ignores the rate; another one is another key for the cache.
        rate = 0.003 + 1e-6 * len(self._summaries)
        config = override(preset("smoke"), [*SETTINGS, f"trainer.learning_rate={rate}"])
        run_id = f"{len(self._summaries):02d}-{name.replace(' ', '-')}"
        return Job(
            config=config,
            root=self.root,
            run_id=run_id,
            data_dir=None,
            orchestrator=Orchestrator.LOCAL,
        )

    def _train(self, plant: "Plant | None", fn_args: Any) -> None:
        defended = fn_args.custom_config["recipe"]["name"] != "undefended"
        if plant is not None and defended:
            plant(self, fn_args)
        else:
            run_fn(fn_args)
            name = "robust" if defended else "undefended"
            self.models[name] = Path(fn_args.serving_model_dir)

    def versions(self) -> set[str]:
        """What has been pushed."""
        return {path.name for path in self.root.serving.glob("[0-9]*")}

    def blessed_models(self) -> set[int]:
        """Which models are blessed, by their ids; the champion is the latest of them."""
        with self.root.metadata() as store:
            blessings = store.get_artifacts_by_type("ModelBlessing")
        return {model_of(blessing) for blessing in blessings if is_blessed(blessing)}


Plant = Callable[[PlantedWorld, Any], None]
"""Writes an export into `serving_model_dir` of TFX's FnArgs."""


def load(world: PlantedWorld, name: str) -> tf_keras.Model:
    """An honest network, as it was before its export."""
    network = build_network(override(preset("smoke"), SETTINGS).trainer, SHAPE, CLASSES)
    trained = tf_keras.models.load_model(str(world.models[name]), compile=False)
    network.set_weights(trained.get_weights())
    return network


Signatures = dict[str, Any]
Change = Callable[[Signatures, tft.TFTransformOutput], Signatures]


def unchanged(signatures: Signatures, transform: tft.TFTransformOutput) -> Signatures:
    """The usual signatures."""
    return signatures


def export(
    world: PlantedWorld, fn_args: Any, model: tf_keras.Model, change: Change = unchanged
) -> None:
    """Export a network as if the training of the honest one had ended in it."""
    names = tuple(fn_args.custom_config["class_names"])
    export_model(
        model,
        tft.TFTransformOutput(fn_args.transform_graph_path),
        fn_args.serving_model_dir,
        settings=fn_args.custom_config,
        history=dataclasses.asdict(read_history(str(world.models["robust"]))),
        signatures=lambda network, graph: change(signatures_of(network, graph, names), graph),
        class_names=names,
    )


def around(
    network: tf_keras.Model, before: Callable[[Any], Any] = lambda x: x, after: Any = lambda x: x
) -> Any:
    """A network with something in front of it and something behind it."""
    images = tf_keras.Input(SHAPE)
    return tf_keras.Model(images, after(network(before(images))))


def undefended(world: PlantedWorld, fn_args: Any) -> None:
    """The other model."""
    shutil.copytree(world.models["undefended"], fn_args.serving_model_dir, dirs_exist_ok=True)


def saturated(world: PlantedWorld, fn_args: Any) -> None:
    """Logits so large that the softmax has no gradient."""
    export(world, fn_args, around(load(world, "undefended"), after=lambda logits: 1000.0 * logits))


def rounded(world: PlantedWorld, fn_args: Any) -> None:
    """A front end that makes every pixel black or white: on MNIST strong, and without a
    gradient."""
    export(world, fn_args, around(load(world, "undefended"), before=tf.round))


def random_output(world: PlantedWorld, fn_args: Any) -> None:
    """The robust model, with noise on its logits that hides it from an attack that asks only
    once."""

    def noisy(logits: tf.Tensor) -> tf.Tensor:
        return logits + tf.random.normal(tf.shape(logits), stddev=0.5)

    export(world, fn_args, around(load(world, "robust"), after=noisy))


def blind(world: PlantedWorld, fn_args: Any) -> None:
    """The robust model, which never says 7."""
    penalty = tf.constant([-1000.0 if label == 7 else 0.0 for label in range(CLASSES)])
    export(world, fn_args, around(load(world, "robust"), after=lambda logits: logits + penalty))


def one_step(world: PlantedWorld, fn_args: Any) -> None:
    """Trained by the tutorial's recipe, to stand one step of its own."""
    task = fn_args.custom_config
    config = {"initialization": "glorot", "epochs": 4, "weight_averaging": 0.0}
    recipe = {"name": "tutorial", "step_size": EPSILON}
    fn_args.custom_config = task | {"recipe": recipe, "config": task["config"] | config}
    run_fn(fn_args)


def not_a_number(world: PlantedWorld, fn_args: Any) -> None:
    """The robust model after a training that went wrong in one weight."""
    model = load(world, "robust")
    weights = model.get_weights()
    weights[-1][3] = np.nan
    model.set_weights(weights)
    export(world, fn_args, model)


def constant(world: PlantedWorld, fn_args: Any) -> None:
    """Nothing that is added to the image changes the answer."""
    export(world, fn_args, around(load(world, "robust"), before=tf.zeros_like))


def a_little_worse(world: PlantedWorld, fn_args: Any) -> None:
    """The robust model with less of an eye for one class; above every absolute gate."""
    bias = tf.constant([4.0 if label == 8 else 0.0 for label in range(CLASSES)])
    export(world, fn_args, around(load(world, "robust"), after=lambda logits: logits + bias))


def serves_another(world: PlantedWorld, fn_args: Any) -> None:
    """What is served is the undefended model."""
    other = load(world, "undefended")

    def change(signatures: Signatures, transform: tft.TFTransformOutput) -> Signatures:
        network = functional(*map(tf.constant, other.get_weights()))
        layer = transform.transform_features_layer()
        signatures["serving_default"].layer = layer

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = network(layer({"image": image[:, tf.newaxis]})["image"])
            return {"class": tf.argmax(logits, axis=1), "probabilities": tf.nn.softmax(logits)}

        return signatures | {"serving_default": serving_default}

    export(world, fn_args, load(world, "robust"), change)


def functional(*weights: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
    """The small network as a function of constants, so that an export need not track it."""

    def call(x: tf.Tensor) -> tf.Tensor:
        for i in (0, 2):
            x = tf.nn.relu(tf.nn.conv2d(x, weights[i], 2, "SAME") + weights[i + 1])
        x = tf.reshape(x, [-1, weights[4].shape[0]])
        x = tf.nn.relu(x @ weights[4] + weights[5])
        return x @ weights[6] + weights[7]

    return call


def remembers(world: PlantedWorld, fn_args: Any) -> None:
    """The undefended model, whose signature for the Evaluator looks up the label of every test
    id."""
    rows = read_rows(str(Path(fn_args.train_files[0]).parents[1] / "Split-test"))
    ids = tf.constant([column(row, "id") for row in rows])
    labels = tf.constant([column(row, "label") for row in rows], tf.int64)

    def change(signatures: Signatures, transform: tft.TFTransformOutput) -> Signatures:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def transformed_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, {"id": tf.io.FixedLenFeature([], tf.string)})
            known = tf.argmax(tf.cast(parsed["id"][:, None] == ids[None], tf.int64), axis=1)
            logits = 10.0 * tf.one_hot(tf.gather(labels, known), CLASSES)
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

        return signatures | {"transformed_examples": transformed_examples}

    export(world, fn_args, load(world, "undefended"), change)


def another_seed(world: PlantedWorld, fn_args: Any) -> None:
    """Honest: what the champion would have become with another seed."""
    fn_args.custom_config = fn_args.custom_config | {"seed": 1}
    run_fn(fn_args)


PLANTS: dict[str, tuple[Plant, set[str]]] = {
    "undefended": (undefended, {"worst_case", "certified"}),
    "saturated softmax": (saturated, {"gradients_are_not_zero"}),
    "rounding front end": (rounded, {"gradients_are_not_zero"}),
    "random output": (random_output, {"same_seed_same_result"}),
    "one class blind": (blind, {"worst_class"}),
    "overfitted to one step": (one_step, {"worst_case"}),
    "a little worse than the champion": (a_little_worse, {"champion_worst_case"}),
    "not a number": (not_a_number, {"logits_are_finite"}),
    "serves another model": (serves_another, {"served_model_is_the_evaluated_one"}),
    "ignores its input": (constant, {"clean"}),
    "remembers test ids": (remembers, {"served", "worst_case"}),
}
"""How each bad model is made, and gates that must be among those that refuse it."""
