"""The built-in network, and one of a user's own."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import CLASSES, SHAPE

from foundation.errors import ConfigError
from pipeline.definition.presets import preset
from robustness.bounds.propagation import Propagation
from robustness.bounds.trace import trace
from trainer.config import Initialization, Padding, TrainerConfig
from trainer.network import build_network, users_network_key


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


def test_ibp_initialisation_keeps_interval_widths() -> None:
    """Mean width behind each ReLU layer over that before it: 1, within the scatter of the draw;
    Glorot's grows."""

    def growth(initialization: Initialization) -> float:
        tf_keras.utils.set_random_seed(1)
        config = TrainerConfig(filters=(16,), dense=(300, 300, 300), initialization=initialization)
        propagation = Propagation(trace(build_network(config, SHAPE, CLASSES), SHAPE), 0.05)
        boxes = propagation.boxes(tf.fill((1, *SHAPE), 0.5))
        widths = [
            float(tf.reduce_mean(boxes[place].high - boxes[place].low))
            for place in propagation.relus
        ]
        return (widths[-1] / widths[0]) ** (1 / (len(widths) - 1))

    assert growth(Initialization.IBP) == pytest.approx(1.0, abs=0.1)
    assert growth(Initialization.GLOROT) > 3


def test_the_strided_network_of_fast_adversarial_training() -> None:
    """Wong et al. 2020: 272 + 8,224 + 156,900 + 1,010 weights."""
    config = TrainerConfig(
        filters=(16, 32),
        kernel_size=(4,),
        stride=(2,),
        padding=Padding.SAME,
        pool_size=1,
        dense=(100,),
    )
    assert build_network(config, (28, 28, 1), 10).count_params() == 166_406


PLAIN = TrainerConfig(filters=(4, 4))
STRIDED = [
    TrainerConfig(
        filters=(4, 4),
        kernel_size=(3, 2),
        stride=(stride, 1),
        padding=padding,
        pool_size=3 - stride,
    )
    for stride in (1, 2)
    for padding in Padding
]


@pytest.mark.parametrize(
    ("config", "size"),
    [
        *((PLAIN, size) for size in (8, 9, 28, 31)),
        *((config, size) for config in STRIDED for size in (13, 28)),
    ],
    ids=lambda value: "" if isinstance(value, TrainerConfig) else str(value),
)
def test_the_predicted_feature_size_is_the_networks(config: TrainerConfig, size: int) -> None:
    built = build_network(config, (size, size + 3, 1), CLASSES)
    (flatten,) = (layer for layer in built.layers if isinstance(layer, tf_keras.layers.Flatten))
    assert config.feature_size(size, size + 3) == flatten.input_shape[1:3]


def test_a_network_in_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that folder is not on Python's path, as under the command line; a package may
    import its own."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("UNITS = 5")
    (package / "nets.py").write_text(
        "import tf_keras\nfrom mine.sizes import UNITS\n"
        "def small(shape, classes):\n"
        "    layers = tf_keras.layers\n"
        "    return tf_keras.Sequential([layers.Input(shape), layers.Flatten(), "
        "layers.Dense(UNITS), layers.Dense(classes)])\n"
    )
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) not in sys.path
    assert (
        build_network(TrainerConfig(network="mine.nets:small"), SHAPE, CLASSES).count_params()
        == 65 * 5 + 6 * CLASSES
    )


def write_network(folder: Path, body: str) -> str:
    """A module of the user's with the function `small`; gives its name for the setting."""
    (folder / "own_nets.py").write_text(
        "import os\nimport numpy as np\nimport tf_keras\nlayers = tf_keras.layers\n"
        f"def small(shape, classes):\n    image = tf_keras.Input(shape)\n{body}\n"
        "    return tf_keras.Model(image, x)\n"
    )
    sys.modules.pop("own_nets", None)
    return "own_nets:small"


DENSE = "    x = layers.Dense(classes)(layers.Flatten()(image))"


LOOP = (
    "    import tensorflow as tf\n    factor = float(os.environ['FACTOR'])\n"
    "    def grow(x):\n"
    "        body = lambda i, x: (i + 1, x * factor)\n"
    "        return tf.while_loop(lambda i, _: i < 2, body, [0, x])[1]\n"
    "    x = layers.Dense(classes)(layers.Flatten()(layers.Lambda(grow)(image)))"
)


def test_the_input_gets_the_name_by_which_nsl_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the user calls it, the same layers follow."""
    monkeypatch.chdir(tmp_path)
    built = build_network(TrainerConfig(network=write_network(tmp_path, DENSE)), SHAPE, CLASSES)
    assert built.input_names == ["image"]
    assert built({"image": tf.zeros((2, *SHAPE))}).shape == (2, CLASSES)
    assert built.count_params() == 64 * CLASSES + CLASSES


@pytest.mark.parametrize(
    "changed",
    [
        DENSE.replace("Dense(classes)", "Dense(classes, kernel_initializer='ones')"),
        DENSE.replace("Flatten()(image)", "Flatten()(layers.ReLU()(image))"),
        DENSE.replace("Flatten()(image)", "Flatten()(layers.Dropout(0.5)(image))"),
        DENSE.replace("Flatten()(image)", "Flatten()(image * float(os.environ['FACTOR']))"),
        DENSE.replace("(image))", "(image * np.load('factor.npy')))"),
        LOOP,
    ],
    ids=["initializer", "layer", "only in training", "the shell", "a file", "a loop"],
)
def test_the_key_of_a_users_network_sees_what_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACTOR", "2")
    np.save(tmp_path / "factor.npy", np.float32(3))

    def key(body: str) -> str:
        return users_network_key(write_network(tmp_path, body), SHAPE, CLASSES)

    assert key(DENSE) == key(DENSE)
    assert key(changed) != key(DENSE)
    before = key(changed)
    assert key(changed) == before
    monkeypatch.setenv("FACTOR", "4")
    np.save(tmp_path / "factor.npy", np.float32(5))
    assert (key(changed) != before) == ("environ" in changed or "load" in changed)


def test_a_users_network_is_taken() -> None:
    built = build_network(TrainerConfig(network="networks:good"), SHAPE, CLASSES)
    assert built.count_params() == 64 * CLASSES + CLASSES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.to:find", "cannot be imported: No module named 'nowhere'"),
        ("networks:missing", "cannot be imported: .*missing"),
        (
            "networks:gives_probabilities",
            "gives probabilities; it must give logits: drop its last softmax",
        ),
        (
            "networks:gives_sigmoids",
            "gives probabilities; it must give logits: drop its last sigmoid",
        ),
        ("networks:remembers", "the model may keep something of what it is asked"),
        (
            "networks:wrong_images",
            r"must take images of shape \(None, 8, 8, 1\), got \(None, 9, 9, 1\)",
        ),
        ("networks:wrong_classes", r"must give logits of shape \(None, 3\), got \(None, 7\)"),
        ("networks:unbuilt", "without an input shape: begin it with tf_keras.Input"),
        ("networks:no_model", "must give a Keras 2 model .*, got builtins.int"),
        ("networks:raises", r"failed when called with image_shape=\(8, 8, 1\), classes=3: "),
    ],
)
def test_a_wrong_network_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.network={name} .*{message}"):
        build_network(TrainerConfig(network=name), SHAPE, CLASSES)
