"""Models that look better than they are, each a real export, and the part of the pipeline that has
to notice.

`planted_world` trains two robust models and an undefended one on real MNIST; `PLANTS` makes the bad
ones of them, and `judge_and_push` sends a model through attack, challenge, evaluation, serving
check and push.
"""

import dataclasses
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import artifact, write_transform

from trainer.config import Initialization, Padding, Schedule, TrainerConfig

SHAPE = (28, 28, 1)
EPSILON = 0.1
SPLITS = {"train": "train[:20000]", "validation": "train[55000:55500]", "test": "test[:1000]"}
GATES = {"clean": 0.93, "worst_case": 0.85, "worst_class": 0.6, "certified": 0.7}
ATTACK = {"suite": "fast", "names": []}


@dataclass(frozen=True, kw_only=True)
class PlantedWorld:
    """Artifact folders: raw examples, Transform graph, and the exported models by name."""

    root: Path
    examples: str
    transform: str
    models: dict[str, str]


def planted_world(root: Path) -> PlantedWorld:
    """Real MNIST, and the honest models."""
    from tfx.types.standard_artifacts import Examples

    from components.datasets.prepare import prepare
    from components.tfds_example_gen.executor import Executor

    data = prepare("mnist", None)
    made = artifact(Examples, str(root / "examples"))
    context = Executor.Context(beam_pipeline_args=[], tmp_dir=str(root), unique_id="1")
    properties = {
        "dataset": "mnist",
        "data_dir": data.directory,
        "fingerprint": data.fingerprint,
        "shards": 2,
    }
    Executor(context).Do({}, {"examples": [made]}, properties | {"splits": json.dumps(SPLITS)})
    write_transform(root, SHAPE)
    world = PlantedWorld(root=root, examples=made.uri, transform=str(root / "transform"), models={})
    for name, recipe, seed in (
        ("undefended", {"name": "undefended"}, 0),
        ("robust", {"name": "mtl-ibp", "bound_share": 0.1, "epsilon_factor": 1.1, "ramp": 0.4}, 0),
        (
            "another seed",
            {"name": "mtl-ibp", "bound_share": 0.1, "epsilon_factor": 1.1, "ramp": 0.4},
            1,
        ),
        ("one-step", {"name": "tutorial", "step_size": EPSILON}, 0),
    ):
        world.models[name] = train(world, name, recipe, seed)
    return world


def training(certified: bool) -> TrainerConfig:
    """Of the small network that all the models share."""
    return TrainerConfig(
        filters=(16, 32),
        kernel_size=(4, 4),
        stride=(2, 2),
        padding=Padding.SAME,
        pool_size=1,
        dense=(64,),
        initialization=Initialization.IBP if certified else Initialization.GLOROT,
        batch_size=100,
        epochs=10 if certified else 4,
        learning_rate=0.003,
        schedule=Schedule.COSINE,
        gradient_clip=10.0,
        weight_averaging=0.99 if certified else 0.0,
    )


def train(world: PlantedWorld, name: str, recipe: dict[str, Any], seed: int) -> str:
    """Train as the Trainer node does; returns the artifact's folder."""
    from trainer.train import run_fn

    config = training(certified=recipe["name"] == "mtl-ibp")
    folder = world.root / name
    task = {
        "config": dataclasses.asdict(config),
        "recipe": recipe,
        "threat": {"epsilon": EPSILON},
        "seed": seed,
        "image_shape": list(SHAPE),
        "classes": 10,
        "checkpoints": str(folder / "checkpoints"),
    }
    run_fn(
        SimpleNamespace(
            custom_config=task,
            transform_graph_path=world.transform,
            train_files=[f"{world.examples}/Split-train/*"],
            eval_files=[f"{world.examples}/Split-validation/*"],
            serving_model_dir=str(folder / "Format-Serving"),
            model_run_dir=str(folder / "logs"),
            base_model=None,
            hyperparameters=None,
        )
    )
    return str(folder)


def load(world: PlantedWorld, name: str) -> tf_keras.Model:
    """A trained network, as it was before its export."""
    from trainer.network import build_network

    network = build_network(training(certified=True), SHAPE, 10)
    trained = tf_keras.models.load_model(f"{world.models[name]}/Format-Serving", compile=False)
    network.set_weights(trained.get_weights())
    return network


def export(
    world: PlantedWorld,
    model: tf_keras.Model,
    folder: Path,
    change: Callable[[dict[str, Any], tft.TFTransformOutput], dict[str, Any]] | None = None,
) -> str:
    """Export a network, with the signatures that `change` makes of the usual ones."""
    from trainer import export as exporting

    transform = tft.TFTransformOutput(world.transform)
    usual = exporting._signatures

    def changed(network: tf_keras.Model, graph: tft.TFTransformOutput) -> dict[str, Any]:
        signatures = usual(network, graph)
        return change(signatures, graph) if change else signatures

    exporting._signatures = changed
    try:
        exporting.export_model(
            model, transform, str(folder / "Format-Serving"), {}, {"epochs": [], "best_epoch": 0}
        )
    finally:
        exporting._signatures = usual
    return str(folder)


def around(
    network: tf_keras.Model, before: Callable[[Any], Any] = lambda x: x, after: Any = lambda x: x
) -> Any:
    """A network with something in front of it and something behind it."""
    images = tf_keras.Input(SHAPE)
    return tf_keras.Model(images, after(network(before(images))))


def saturated(world: PlantedWorld, folder: Path) -> str:
    """Logits so large that the softmax has no gradient."""
    return export(
        world, around(load(world, "undefended"), after=lambda logits: 1000.0 * logits), folder
    )


def rounded(world: PlantedWorld, folder: Path) -> str:
    """A front end that makes every pixel black or white: on MNIST strong, and without a
    gradient."""
    return export(world, around(load(world, "undefended"), before=tf.round), folder)


def random_output(world: PlantedWorld, folder: Path) -> str:
    """The robust model, with noise on its logits that hides it from an attack that asks only
    once."""
    noisy = around(
        load(world, "robust"),
        after=lambda logits: logits + tf.random.normal(tf.shape(logits), stddev=0.5),
    )
    return export(world, noisy, folder)


def blind(world: PlantedWorld, folder: Path) -> str:
    """The robust model, which never says 7."""
    penalty = tf.constant([-1000.0 if label == 7 else 0.0 for label in range(10)])
    return export(
        world, around(load(world, "robust"), after=lambda logits: logits + penalty), folder
    )


def not_a_number(world: PlantedWorld, folder: Path) -> str:
    """The robust model after a training that went wrong in one weight."""
    model = load(world, "robust")
    weights = model.get_weights()
    weights[-1][3] = np.nan
    model.set_weights(weights)
    return export(world, model, folder)


def constant(world: PlantedWorld, folder: Path) -> str:
    """Nothing that is added to the image changes the answer."""
    return export(world, around(load(world, "robust"), before=tf.zeros_like), folder)


def a_little_worse(world: PlantedWorld, folder: Path) -> str:
    """The robust model with less of an eye for one class; above every absolute gate."""
    bias = tf.constant([1.0 if label == 8 else 0.0 for label in range(10)])
    return export(
        world, around(load(world, "robust"), after=lambda logits: logits + 4.0 * bias), folder
    )


def serves_another(world: PlantedWorld, folder: Path) -> str:
    """What is served is the undefended model."""
    other = load(world, "undefended")

    def change(signatures: dict[str, Any], transform: tft.TFTransformOutput) -> dict[str, Any]:
        usual = signatures["serving_default"]
        weights = [tf.constant(weight) for weight in other.get_weights()]
        network = functional(other, weights)
        layer = transform.transform_features_layer()
        usual.layer = layer

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image")])
        def serving_default(image: tf.Tensor) -> dict[str, tf.Tensor]:
            logits = network(layer({"image": image[:, tf.newaxis]})["image"])
            return {"class": tf.argmax(logits, axis=1), "probabilities": tf.nn.softmax(logits)}

        return signatures | {"serving_default": serving_default}

    return export(world, load(world, "robust"), folder, change)


def functional(model: tf_keras.Model, weights: list[tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """The small network as a function of constants, so that an export need not track it."""

    def call(x: tf.Tensor) -> tf.Tensor:
        for i in (0, 2):
            x = tf.nn.relu(tf.nn.conv2d(x, weights[i], 2, "SAME") + weights[i + 1])
        x = tf.reshape(x, [-1, weights[4].shape[0]])
        x = tf.nn.relu(x @ weights[4] + weights[5])
        return x @ weights[6] + weights[7]

    return call


def remembers(world: PlantedWorld, folder: Path) -> str:
    """The signature that the Evaluator asks looks up the label of every test id."""
    from small_world import column

    from components.records.shards import list_shards, read_shards

    records = read_shards(list_shards(f"{world.examples}/Split-test")).as_numpy_iterator()
    rows = [tf.train.Example.FromString(record) for record in records]
    ids, labels = ([column(row, name) for row in rows] for name in ("id", "label"))

    def change(signatures: dict[str, Any], transform: tft.TFTransformOutput) -> dict[str, Any]:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def transformed_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
            parsed = tf.io.parse_example(examples, {"id": tf.io.FixedLenFeature([], tf.string)})
            known = tf.argmax(
                tf.cast(parsed["id"][:, None] == tf.constant(ids)[None], tf.int64), axis=1
            )
            logits = 10.0 * tf.one_hot(tf.gather(tf.constant(labels, tf.int64), known), 10)
            return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

        return signatures | {"transformed_examples": transformed_examples}

    return export(world, load(world, "undefended"), folder, change)


PLANTS: dict[str, tuple[Callable[[PlantedWorld, Path], str], set[str]]] = {
    "undefended": (lambda world, _: world.models["undefended"], {"worst_case", "certified"}),
    "saturated softmax": (saturated, {"gradients_are_not_zero"}),
    "rounding front end": (rounded, {"gradients_are_not_zero"}),
    "random output": (random_output, {"same_seed_same_result"}),
    "one class blind": (blind, {"worst_class"}),
    "overfitted to one step": (lambda world, _: world.models["one-step"], {"worst_case"}),
    "a little worse than the champion": (a_little_worse, {"champion_worst_case"}),
    "not a number": (not_a_number, {"logits_are_finite"}),
    "serves another model": (serves_another, {"served_model_is_the_evaluated_one"}),
    "ignores its input": (constant, {"clean"}),
    "remembers test ids": (remembers, {"served", "worst_case"}),
}
"""How each bad model is made, and gates that must be among those that refuse it."""


def judge_and_push(
    world: PlantedWorld, model: str, champion: str | None, folder: Path
) -> dict[str, Any]:
    """Attack, challenge, evaluate, check, push; returns `refused_by`, `gates`, `problems`,
    `pushed`."""
    from google.protobuf import json_format
    from tfx.proto import pusher_pb2
    from tfx.types.standard_artifacts import (
        Examples,
        InfraBlessing,
        Model,
        ModelBlessing,
        ModelEvaluation,
        PushedModel,
        TransformGraph,
    )
    from tfx.utils import proto_utils

    from components import pusher
    from components.adversarial_example_gen import executor as attack
    from components.champion_challenge import executor as challenge
    from components.evaluator import executor as evaluator
    from components.serving_check.component import ServingCheck, read_problems
    from pipeline.definition.config import override
    from pipeline.definition.eval_config import eval_config
    from pipeline.definition.presets import preset
    from robustness.config import CheckName

    settings = [f"gates.{name}={bound}" for name, bound in GATES.items()] + [
        f"threat.epsilon={EPSILON}"
    ]
    settings.append("gates.checks=" + ",".join(CheckName))
    config = override(preset("smoke"), settings)
    models = {
        "undefended": [artifact(Model, world.models["undefended"])],
        "robust": [artifact(Model, model)],
    }
    examples = artifact(Examples, world.examples, split_names='["train","validation","test"]')
    attacked = artifact(Examples, str(folder / "attacked"))
    challenged = artifact(Examples, str(folder / "challenged"))
    properties = {
        "split": "test",
        "threat": json.dumps({"epsilon": EPSILON}),
        "seed": 0,
        "attack": json.dumps(ATTACK),
    }

    def context(kind: Any) -> Any:
        return kind.Context(beam_pipeline_args=[], tmp_dir=str(folder / "tmp"), unique_id="1")

    attack.Executor(context(attack.Executor)).Do(
        models
        | {"examples": [examples], "transform_graph": [artifact(TransformGraph, world.transform)]},
        {"adversarial_examples": [attacked]},
        properties,
    )
    challenge.Executor(context(challenge.Executor)).Do(
        models
        | {"adversarial_examples": [attacked]}
        | ({"champion": [artifact(Model, champion)]} if champion else {}),
        {"challenged_examples": [challenged]},
        properties,
    )
    blessing = artifact(ModelBlessing, str(folder / "blessing"))
    evaluator.Executor(context(evaluator.Executor)).Do(
        {"examples": [challenged], "model": models["robust"]},
        {
            "evaluation": [artifact(ModelEvaluation, str(folder / "evaluation"))],
            "blessing": [blessing],
        },
        {
            "eval_config": json_format.MessageToJson(eval_config(config)),
            "example_splits": '["test"]',
        },
    )
    infra = artifact(InfraBlessing, str(folder / "infra"))
    ServingCheck.EXECUTOR_SPEC.executor_class().Do(
        {"model": models["robust"], "examples": [examples]},
        {"blessing": [infra]},
        {"split": "test", "code": ""},
    )
    pushed = artifact(PushedModel, str(folder / "pushed"))
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "serving"))
    pusher.Executor().Do(
        {"model": models["robust"], "model_blessing": [blessing], "infra_blessing": [infra]},
        {"pushed_model": [pushed]},
        {
            "push_destination": proto_utils.proto_to_json(
                pusher_pb2.PushDestination(filesystem=filesystem)
            )
        },
    )
    return {
        "refused_by": set(
            filter(None, blessing.get_string_custom_property(evaluator.REFUSED_BY).split(","))
        ),
        "gates": evaluator.read_explanations(blessing.uri),
        "problems": read_problems(infra.uri),
        "pushed": os.path.isdir(folder / "serving"),
    }
