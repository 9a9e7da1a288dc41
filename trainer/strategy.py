"""`tf.distribute` strategies by name, and the rules that go with several replicas.

`Scaling` says what several replicas do with batch and learning rate. Workers of a cluster find each
other by TF_CONFIG, which whoever starts them sets; on one machine that is `trainer.workers`.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import assert_never

import tensorflow as tf

from foundation.errors import ConfigError, RunError
from trainer.config import DevicesConfig, Scaling, StrategyName, TrainerConfig


def make_strategy(config: DevicesConfig) -> tf.distribute.Strategy:
    """The strategy of a training; build it first thing in `run_fn`.

    auto: tpu where TPU_NAME is set, multi_worker where TF_CONFIG names several workers, mirrored
    where there are several GPUs, otherwise one_device.
    one_device: TensorFlow's default strategy: the first GPU, or the CPU where there is none. It
    does what `OneDeviceStrategy` does, but reads its data without a distributed iterator, whose
    tuning thread cannot be switched off (see `foundation.autotune`).
    mirrored: all devices of this machine, the weights kept equal by all-reduce.
    multi_worker: the same over several machines, or processes (`trainer.workers`).
    tpu: the cores of the TPU that `trainer.tpu` or TPU_NAME names.

    Raises:
        RunError: there is no such TPU.
        ConfigError: TF_CONFIG names several workers, and the strategy would let each of them train
            alone.
    """
    _let_memory_grow()
    strategy = resolved(config.strategy)
    workers = len(cluster_workers())
    if workers > 1 and strategy in (StrategyName.ONE_DEVICE, StrategyName.MIRRORED):
        raise ConfigError(
            f"TF_CONFIG names {workers} workers, and each would train alone with "
            f"trainer.strategy={config.strategy}; set trainer.strategy=multi_worker or auto"
        )
    match strategy:
        case StrategyName.ONE_DEVICE | StrategyName.AUTO:
            return tf.distribute.get_strategy()
        case StrategyName.MIRRORED:
            gpus = tf.config.list_logical_devices("GPU")
            return tf.distribute.MirroredStrategy(
                [d.name for d in gpus or tf.config.list_logical_devices("CPU")]
            )
        case StrategyName.MULTI_WORKER:
            return tf.distribute.MultiWorkerMirroredStrategy()
        case StrategyName.TPU:
            return _tpu_strategy(config.tpu)
        case never:
            assert_never(never)


def resolved(name: StrategyName) -> StrategyName:
    """What `auto` means here; any other name is itself."""
    if name is not StrategyName.AUTO:
        return name
    if os.environ.get("TPU_NAME"):
        return StrategyName.TPU
    if len(cluster_workers()) > 1:
        return StrategyName.MULTI_WORKER
    return (
        StrategyName.MIRRORED
        if len(tf.config.list_physical_devices("GPU")) > 1
        else StrategyName.ONE_DEVICE
    )


def cluster_workers() -> list[str]:
    """Addresses of the workers that TF_CONFIG names, the chief included; empty without
    TF_CONFIG."""
    cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    return [*cluster.get("chief", []), *cluster.get("worker", [])]


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    resolver = strategy.cluster_resolver
    if (
        not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        or resolver.task_type is None
    ):
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_id == 0)


def scaled(config: TrainerConfig, replicas: int, rows: int) -> tuple[int, float]:
    """Global batch and peak learning rate of several replicas.

    Args:
        config: batch and rate of one replica, and how they scale.
        replicas: number of replicas.
        rows: number of images of the training split.

    Raises:
        ConfigError: the batch cannot be shared out evenly, or is larger than the split.
    """
    grows = config.scaling is not Scaling.FIXED
    batch = config.batch_size * (replicas if grows else 1)
    if batch % replicas:
        raise ConfigError(
            f"trainer.batch_size={config.batch_size} cannot be shared out evenly among {replicas} "
            "replicas"
        )
    if batch > rows:
        raise ConfigError(f"a batch of {batch} images is more than the training split has ({rows})")
    factors = {
        Scaling.FIXED: 1.0,
        Scaling.LINEAR: float(replicas),
        Scaling.SQRT: math.sqrt(replicas),
    }
    return batch, config.learning_rate * factors[config.scaling]


def agreed(strategy: tf.distribute.Strategy, values: Sequence[float]) -> list[float]:
    """The mean of each value over all replicas, so that every worker decides alike; waits for all
    of them."""

    @tf.function
    def mean() -> tf.Tensor:
        everywhere = strategy.run(lambda: tf.constant(values, tf.float32))
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, everywhere, axis=None)

    return [float(value) for value in mean().numpy()]


@contextmanager
def told_of_lost_workers() -> Iterator[None]:
    """Say plainly when a collective operation has ended because another worker is gone.

    Raises:
        RunError: another worker of the cluster is gone.
    """
    try:
        yield
    except tf.errors.UnavailableError as error:
        if len(cluster_workers()) < 2:
            raise
        raise RunError(
            "another worker of the cluster has gone, see its log; the same command goes on from "
            "the last whole epoch"
        ) from error


def _let_memory_grow() -> None:
    """GPU memory is taken as it is needed: other nodes and processes may want some."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # this process uses the GPU already
            return


def _tpu_strategy(name: str) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name or os.environ.get("TPU_NAME", "")
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # the cloud's client has kinds of its own, and so has the network
        raise RunError(
            "trainer.strategy=tpu found no TPU named "
            f"{name or os.environ.get('TPU_NAME') or '(none)'!r}: {error}; name it with "
            "trainer.tpu or TPU_NAME (`local` on a TPU VM)"
        ) from error
    return tf.distribute.TPUStrategy(resolver)
