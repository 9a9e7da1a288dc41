"""`run_fn`: what both Trainer nodes run. It trains one model by one recipe and exports it."""

import dataclasses
import logging
from dataclasses import dataclass
from typing import assert_never

import pydantic
import tensorflow_transform as tft
import tf_keras
from tfx.components.trainer.fn_args_utils import FnArgs

from trainer.config import Recipe, TrainerConfig
from trainer.dataset import batched, load_split
from trainer.export import export_model
from trainer.network import build_network
from trainer.nsl import import_nsl
from trainer.progress import LogProgress
from trainer.strategy import make_strategy

log = logging.getLogger("gauntlet.trainer")


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """What a Trainer node is told through its custom_config.

    image_shape: height, width, channels. code: hash of the code that trains; it tells TFX's cache of edits.
    """

    config: TrainerConfig
    image_shape: tuple[int, int, int]
    classes: int
    seed: int
    code: str = ""


def run_fn(fn_args: FnArgs) -> None:
    """Train and export, called by TFX.

    Args:
        fn_args: `custom_config` holds a `TrainingTask` as a dictionary; the model goes to
            `serving_model_dir`, the TensorBoard logs to `model_run_dir`.
    """
    task = pydantic.TypeAdapter(TrainingTask).validate_python(fn_args.custom_config)
    strategy = make_strategy(task.config.strategy)
    tf_keras.utils.set_random_seed(task.seed)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation = (load_split(files, transform) for files in (fn_args.train_files, fn_args.eval_files))
    steps = -(-len(train["label"]) // task.config.batch_size) * task.config.epochs
    batches, validation = batched(train, task.config.batch_size, task.seed), batched(validation, 500)
    with strategy.scope():
        network = build_network(task.config, task.image_shape, task.classes)
        model = compiled_model(network, task.config)
    replicas = strategy.num_replicas_in_sync
    log.info("training %s: %d weights on %d replicas", task.config.recipe, network.count_params(), replicas)
    if task.config.recipe is Recipe.UNDEFENDED:  # Keras wants pairs, NSL wants the dictionary
        batches, validation = (d.map(lambda f: (f["image"], f["label"])) for d in (batches, validation))
    callbacks = [
        LogProgress(log, steps),
        tf_keras.callbacks.TensorBoard(fn_args.model_run_dir, write_graph=False, profile_batch=0),
    ]
    model.fit(batches, epochs=task.config.epochs, validation_data=validation, callbacks=callbacks, verbose=0)
    export_model(network, transform, fn_args.serving_model_dir, dataclasses.asdict(task))
    log.info("exported to %s", fn_args.serving_model_dir)


def compiled_model(network: tf_keras.Model, config: TrainerConfig) -> tf_keras.Model:
    """The network itself, or wrapped by NSL's adversarial regularisation, compiled with Adam.

    The `tutorial` recipe is NSL's as its tutorial ships it: cross-entropy plus `multiplier` times the
    cross-entropy of the FGSM neighbour, which is not clipped to [0, 1].
    """
    match config.recipe:
        case Recipe.UNDEFENDED:
            model = network
        case Recipe.TUTORIAL:
            nsl = import_nsl()
            adversarial = nsl.configs.make_adv_reg_config(
                multiplier=config.adversarial_multiplier,
                adv_step_size=config.adversarial_step_size,
                adv_grad_norm=str(config.adversarial_norm),
            )
            model = nsl.keras.AdversarialRegularization(network, label_keys=["label"], adv_config=adversarial)
        case never:
            assert_never(never)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(config.learning_rate),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf_keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
