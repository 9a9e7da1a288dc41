"""Training and the exported model."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import CLASSES, EXAMPLES, SHAPE, run_trainer, small_images, training_task

from pipeline.definition.presets import preset
from trainer.config import Initialization, RecipeConfig, StrategyName, TrainerConfig
from trainer.dataset import load_split, training_batches
from trainer.network import build_network
from trainer.nsl import adversarial_regularization
from trainer.preprocessing import decode_images
from trainer.strategy import make_strategy


def test_the_default_network_is_the_tutorials() -> None:
    """320 + 18,496 + 36,928 + 36,928 + 650 weights: three convolutions, dense 64, logits."""
    network = build_network(TrainerConfig(), (28, 28, 1), 10)
    assert network.count_params() == 93_322
    assert network.layers[-1].activation is tf_keras.activations.linear


@pytest.mark.parametrize("name", ["robust", "record", "fashion"])
def test_the_presets_networks_are_small(name: str) -> None:
    config = preset(name)
    assert (
        build_network(config.trainer, config.data.image_shape, config.data.classes).count_params()
        == 473_130
    )


@pytest.mark.parametrize("initialization", Initialization)
def test_the_network_is_of_stock_keras(initialization: Initialization) -> None:
    """The export is loaded where this package is not."""
    network = build_network(TrainerConfig(initialization=initialization), (28, 28, 1), 10)
    again = tf_keras.Model.from_config(json.loads(network.to_json())["config"])
    assert [w.shape for w in again.get_weights()] == [w.shape for w in network.get_weights()]


@pytest.mark.parametrize("size", [8, 9, 28, 31])
def test_the_predicted_feature_size_is_the_networks(size: int) -> None:
    config = TrainerConfig(filters=(4, 4))
    network = build_network(config, (size, size + 3, 1), CLASSES)
    (flatten,) = (layer for layer in network.layers if isinstance(layer, tf_keras.layers.Flatten))
    assert config.feature_size(size, size + 3) == flatten.input_shape[1:3]


def test_decoded_images_are_the_pixels_divided_by_255() -> None:
    images, _ = small_images(5, seed=9)
    decoded = decode_images(tf.stack([tf.io.encode_png(image) for image in images]), SHAPE)
    np.testing.assert_allclose(decoded.numpy(), images / np.float32(255), rtol=1e-6)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"no image", "(?i)png|image"),
        (tf.io.encode_png(np.zeros((9, 8, 1), np.uint8)).numpy(), "(?i)shape"),
    ],
    ids=["garbage", "wrong-shape"],
)
def test_undecodable_images_fail(encoded: bytes, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_images(tf.constant([encoded]), SHAPE)


def test_a_split_is_read_whole_and_in_the_order_of_its_ids(small_world: SimpleNamespace) -> None:
    split = load_split(
        [f"{small_world.examples}/Split-test/*"], tft.TFTransformOutput(small_world.transform)
    )
    images, labels = small_images(EXAMPLES, seed=2)
    order = np.argsort([b"small-2-%d" % i for i in range(EXAMPLES)])
    np.testing.assert_array_equal(split["label"], labels[order])
    np.testing.assert_allclose(split["image"], images[order] / np.float32(255), rtol=1e-6)


def epochs_of_labels(
    seed: int, first_step: int = 0, context: tf.distribute.InputContext | None = None
) -> list[int]:
    """Labels of two epochs of 100 rows in batches of 16, from one input pipeline."""
    features = {"image": np.arange(100, dtype=np.float32), "label": np.arange(100)}
    make = training_batches(features, 16, seed, first_step, positions=True)
    batches = make(context or tf.distribute.InputContext()).take(12 - first_step)
    return np.concatenate([batch["label"] for batch in batches.as_numpy_iterator()]).tolist()


def test_batches_are_shuffled_by_seed_and_epoch() -> None:
    both = epochs_of_labels(1)
    first, second = both[:96], both[96:]
    assert len(set(first)) == len(set(second)) == 96
    assert first != second
    assert first != sorted(first)
    assert epochs_of_labels(1) == both
    assert epochs_of_labels(2) != both


def test_a_training_that_goes_on_sees_the_batches_it_would_have_seen() -> None:
    assert epochs_of_labels(1, first_step=6) == epochs_of_labels(1)[96:]


def test_workers_share_out_each_global_batch() -> None:
    """Two workers with one replica each, against one worker: the halves of every batch."""
    whole = np.reshape(epochs_of_labels(1), (12, 2, 8))
    for worker in range(2):
        context = tf.distribute.InputContext(
            num_input_pipelines=2, input_pipeline_id=worker, num_replicas_in_sync=2
        )
        half = epochs_of_labels(1, context=context)
        assert half == whole[:, worker].ravel().tolist()


@pytest.mark.parametrize("name", ["undefended", "robust"])
def test_exported_model_answers_on_every_signature(small_models: dict[str, str], name: str) -> None:
    """PNG bytes, raw examples and transformed examples of the same image give the same answer."""
    directory = f"{small_models[name]}/Format-Serving"
    images, labels = small_images(32, seed=5)
    png = [tf.io.encode_png(image).numpy() for image in images]
    pixels = images / np.float32(255)

    def example(**features: tf.train.Feature) -> bytes:
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    raw = [example(image=tf.train.Feature(bytes_list=tf.train.BytesList(value=[p]))) for p in png]
    transformed = [
        example(image=tf.train.Feature(float_list=tf.train.FloatList(value=x.ravel())))
        for x in pixels
    ]
    signatures = tf.saved_model.load(directory).signatures
    served = signatures["serving_default"](image=tf.constant(png))
    network = tf_keras.models.load_model(directory, compile=False)
    logits = network(pixels, training=False).numpy()
    np.testing.assert_array_equal(served["class"], logits.argmax(axis=1))
    np.testing.assert_allclose(served["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    from_raw = signatures["serialized_examples"](examples=tf.constant(raw))
    np.testing.assert_allclose(from_raw["probabilities"], served["probabilities"], atol=1e-6)
    evaluated = signatures["transformed_examples"](examples=tf.constant(transformed))
    np.testing.assert_allclose(evaluated["logits"], logits, atol=1e-5)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.9
    assert np.any(logits < 0), "logits, not probabilities"


def test_export_keeps_configuration_and_seed(small_models: dict[str, str]) -> None:
    settings = json.loads(
        Path(small_models["robust"], "Format-Serving/assets.extra/settings.json").read_text()
    )
    assert settings["seed"] == 0
    assert settings["recipe"]["name"] == "tutorial"
    assert settings["config"]["batch_size"] == 16


def test_metrics_of_every_epoch_reach_tensorboard(small_models: dict[str, str]) -> None:
    found: dict[str, list[int]] = {}
    for file in Path(small_models["robust"], "logs", "validation").glob("events.out.tfevents.*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    for name in ("clean", "adversarial", "certified"):
        assert found[f"epoch_{name}"] == list(range(6))


def test_same_seed_same_weights(small_world: SimpleNamespace, tmp_path: Path) -> None:
    first, second, other = (
        tf_keras.models.load_model(
            run_trainer(small_world, tmp_path / name, training_task("tutorial") | {"seed": seed})
            + "/Format-Serving",
            compile=False,
        ).get_weights()
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(first, other, strict=True))


def test_tutorial_recipe_adds_the_weighted_loss_of_the_fgsm_neighbour() -> None:
    """Against a hand-written loss: cross-entropy + 0.2 * cross-entropy at x + 0.2 *
    sign(gradient)."""
    tf_keras.utils.set_random_seed(3)
    network = build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, CLASSES)
    model = adversarial_regularization(network, RecipeConfig())
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = small_images(16, seed=1)
    x, y = tf.constant(images / np.float32(255)), tf.constant(labels)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        tape.watch(x)
        clean = loss(y, network(x))
    neighbour = x + 0.2 * tf.sign(tape.gradient(clean, x))
    expected = clean + 0.2 * loss(y, network(neighbour))
    model({"image": x, "label": y})
    assert float(tf.add_n(model.losses)) == pytest.approx(float(expected), rel=1e-5)


def test_strategies_by_name() -> None:
    mirrored, one = (
        make_strategy(TrainerConfig(strategy=name))
        for name in (StrategyName.MIRRORED, StrategyName.ONE_DEVICE)
    )
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert not isinstance(one, tf.distribute.MirroredStrategy)
    assert one.num_replicas_in_sync == 1


def test_our_data_sets_run_without_the_tuning_thread() -> None:
    """With it, training stands still at the end of epochs, by chance and for up to a minute."""
    features = {"image": np.zeros(4, np.float32), "label": np.zeros(4, np.int64)}
    batches = training_batches(features, 2, 0, 0, positions=False)(tf.distribute.InputContext())
    assert batches.options().autotune.enabled is False


@pytest.mark.slow
def test_nsl_under_keras_3_is_a_clear_error() -> None:
    code = "from trainer.nsl import import_nsl\nimport_nsl()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": "", "TF_USE_LEGACY_KERAS": "0"},
        capture_output=True,
        text=True,
    )
    assert "set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported" in done.stderr
