"""The classifier: images in [0, 1] to logits."""

import hashlib
import importlib.machinery
import importlib.util
import math
import os
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from foundation.errors import ConfigError, DataError
from robustness.inlining import inlined
from robustness.logits import LOGARITHM, as_logits
from trainer.config import Initialization, TrainerConfig
from trainer.models.state import refuse_memory

INPUT = "image"
"""Name of a network's input, and of the feature that goes in."""

BuildNetwork = Callable[[tuple[int, int, int], int], tf_keras.Model]
"""Function of image shape and number of classes."""


def build_network(
    config: TrainerConfig, image_shape: tuple[int, int, int], classes: int
) -> tf_keras.Model:
    """The user's network, or convolutions with max pooling between them, dense layers, logits.

    With the default config and MNIST this is the network of the NSL tutorial, except that it ends
    in logits: a softmax inside would saturate and hide gradients from an attack.

    Args:
        config: which network, and its sizes and initialization.
        image_shape: height, width, channels.
        classes: number of logits.

    Returns:
        A Keras 2 model; input float32 [n, h, w, c], output float32 [n, classes].

    Raises:
        ConfigError: the user's network cannot be built, or is no such model.
    """
    if config.network is not None:
        return _users_network(config.network, image_shape, classes)
    inputs = tf_keras.Input(shape=image_shape, name=INPUT)
    x = inputs
    for i, (filters, kernel_size, stride) in enumerate(config.convolutions):
        if i and config.pool_size > 1:
            x = tf_keras.layers.MaxPooling2D(config.pool_size)(x)
        x = tf_keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding=str(config.padding),
            activation="relu",
            kernel_initializer=_initializer(config.initialization, kernel_size**2 * x.shape[-1]),
        )(x)
    x = tf_keras.layers.Flatten()(x)
    for units in config.dense:
        initializer = _initializer(config.initialization, x.shape[-1])
        x = tf_keras.layers.Dense(units, activation="relu", kernel_initializer=initializer)(x)
    # The logits are float32 also where the rest is computed in mixed precision.
    initializer = _initializer(config.initialization, x.shape[-1])
    logits = tf_keras.layers.Dense(
        classes, name="logits", dtype="float32", kernel_initializer=initializer
    )
    return tf_keras.Model(inputs, logits(x), name="classifier")


def _initializer(name: Initialization, fan_in: int) -> tf_keras.initializers.Initializer:
    """A new initializer for each layer: Keras's give the same values each time they are called.

    ibp is a normal distribution with standard deviation sqrt(2 pi) / fan-in (Shi et al. 2021, eq.
    6): behind a ReLU, the mean width of an interval stays what it was. It is one of Keras's own,
    because the export is loaded without this package.
    """
    if name is Initialization.IBP:
        return tf_keras.initializers.RandomNormal(stddev=math.sqrt(2 * math.pi) / fan_in)
    return tf_keras.initializers.GlorotUniform()


def users_function(name: str) -> BuildNetwork:
    """What `package.module:function` names: on Python's path, otherwise in the working directory.

    The command line keeps the working directory off Python's path, so that a folder named like one
    of our packages cannot win over it.

    Raises:
        ConfigError: it cannot be imported.
    """
    module, _, function = name.partition(":")
    top = module.partition(".")[0]
    try:
        if importlib.util.find_spec(top) is None:
            _import_from(os.getcwd(), top)
        build: BuildNetwork = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"trainer.network={name} cannot be imported: {error}; it must lie on Python's path or "
            "in the folder where the command is run"
        ) from error
    return build


def _import_from(folder: str, name: str) -> None:
    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


def _users_network(name: str, image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    setting, build = f"trainer.network={name}", users_function(name)
    try:
        network = build(image_shape, classes)
    except Exception as error:
        raise ConfigError(
            f"{setting} failed when called with image_shape={image_shape}, classes={classes}: "
            f"{type(error).__name__}: {error}"
        ) from error
    _check_users_network(setting, network, image_shape, classes)
    if getattr(network, "input_names", None) == [INPUT]:
        return network
    image = tf_keras.Input(image_shape, name=INPUT)  # by which NSL finds the image in its features
    return tf_keras.Model(image, network(image), name="classifier")


def users_network_key(name: str, image_shape: tuple[int, int, int], classes: int) -> str:
    """Hash of the network that a user's function builds: of its operations, in training and after
    it, and of the weights with which it begins.

    So a cache sees whatever decides it, also what no source tells: another version of a package, a
    file of weights, a variable of the shell.
    """
    tf_keras.utils.set_random_seed(0)  # the same beginning for the same network
    network = _users_network(name, image_shape, classes)
    digest = hashlib.sha256()
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    for training in (False, True):
        traced = tf.function(lambda x, t=training: network(x, training=t), autograph=False)
        flat = inlined(traced.get_concrete_function(spec), spec)
        for line in _described(flat.graph):
            digest.update(line.encode())
        inner = flat.graph.as_graph_def().library.function  # bodies of loops, branches
        for text in sorted(NAMED_BY_COUNT.sub("", str(function)) for function in inner):
            digest.update(text.encode())
    for weight in network.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()[:16]


def _described(graph: tf.Graph) -> Iterator[str]:
    """Each operation of a graph without its name, which depends on what was built before."""
    places = {op.name: place for place, op in enumerate(graph.get_operations())}
    for op in graph.get_operations():
        operands = [(places[tensor.op.name], tensor.value_index) for tensor in op.inputs]
        shapes = [str(tensor.shape) for tensor in op.outputs]
        attributes = sorted(op.node_def.attr.items())
        kept = [
            (key, NAMED_BY_COUNT.sub("", str(value)))
            for key, value in attributes
            if key not in OF_THIS_PROCESS
        ]
        yield f"{op.type} {operands} {shapes} {kept}\n"


NAMED_BY_COUNT = re.compile(r"_\d+(?!\d)")
"""What is added to a name that was given before."""

OF_THIS_PROCESS = {"_gradient_op_type", "shared_name", "container", "_user_specified_name"}
"""Attributes of operations that tell where they were made, not what they compute."""


def _check_users_network(
    setting: str, network: object, image_shape: tuple[int, int, int], classes: int
) -> None:
    if not isinstance(network, tf_keras.Model):
        kind = type(network)
        raise ConfigError(
            f"{setting} must give a Keras 2 model (tf_keras.Model), got "
            f"{kind.__module__}.{kind.__qualname__}"
        )
    if not network.built:
        raise ConfigError(
            f"{setting} gave a model without an input shape: begin it with tf_keras.Input"
        )
    for what, shape, expected in (
        ("take images", network.input_shape, (None, *image_shape)),
        ("give logits", network.output_shape, (None, classes)),
    ):
        if shape != expected:
            raise ConfigError(f"{setting} must {what} of shape {expected}, got {shape}")
    sample = np.random.default_rng(0).random((8, *image_shape), np.float32)
    outputs = network(sample, training=False)
    if outputs.dtype != tf.float32:
        raise ConfigError(f"{setting} must give float32 logits, got {outputs.dtype.name}")
    try:
        refuse_memory(network, image_shape)
    except DataError as error:
        raise ConfigError(f"{setting} cannot be judged: {error}") from error
    read = as_logits(network, image_shape, sample)
    if LOGARITHM in read.notes or read.taken_off:
        last = read.taken_off[0] if read.taken_off else "softmax"
        raise ConfigError(
            f"{setting} gives probabilities; it must give logits: drop its last {last}"
        )
