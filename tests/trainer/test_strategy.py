"""Strategies by name, and what several replicas do with batch and rate."""

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import tensorflow as tf
from replicas import cluster

from foundation.errors import ConfigError, RunError
from trainer.config import DevicesConfig, Scaling, StrategyName, TrainerConfig
from trainer.strategy import (
    cluster_workers,
    is_chief,
    make_strategy,
    resolved,
    scaled,
    told_of_lost_workers,
)


def test_strategies_by_name() -> None:
    mirrored, one = (
        make_strategy(DevicesConfig(strategy=name))
        for name in (StrategyName.MIRRORED, StrategyName.ONE_DEVICE)
    )
    assert isinstance(mirrored, tf.distribute.MirroredStrategy)
    assert not isinstance(one, tf.distribute.MirroredStrategy)
    assert one.num_replicas_in_sync == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lost_worker_is_named_as_such_on_a_cluster_only(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster(0, [f"host{i}:1" for i in range(workers)]))
    error = RunError if workers > 1 else tf.errors.UnavailableError
    with (
        pytest.raises(error, match="another worker" if workers > 1 else "the storage"),
        told_of_lost_workers(),
    ):
        raise tf.errors.UnavailableError(None, None, "the storage")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Pretend that there are so many."""
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind=None: [f"{kind}:{i}" for i in range(count)]
    )


@pytest.mark.parametrize(
    ("tpu", "workers", "count", "expected"),
    [
        ("", 0, 0, StrategyName.ONE_DEVICE),
        ("", 1, 1, StrategyName.ONE_DEVICE),
        ("", 1, 2, StrategyName.MIRRORED),
        ("", 2, 2, StrategyName.MULTI_WORKER),
        ("local", 2, 2, StrategyName.TPU),
    ],
    ids=["bare", "one-gpu", "two-gpus", "two-workers", "tpu"],
)
def test_auto_takes_what_is_there(
    monkeypatch: pytest.MonkeyPatch, tpu: str, workers: int, count: int, expected: StrategyName
) -> None:
    monkeypatch.setenv("TPU_NAME", tpu)
    monkeypatch.setenv(
        "TF_CONFIG", cluster(0, [f"host{i}:1" for i in range(workers)]) if workers else ""
    )
    gpus(monkeypatch, count)
    assert resolved(StrategyName.AUTO) is expected
    assert resolved(StrategyName.MIRRORED) is StrategyName.MIRRORED


def test_a_chief_is_one_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}})
    )
    assert cluster_workers() == ["a:1", "b:1", "c:1"]


@pytest.mark.parametrize(
    ("kind", "index", "jobs", "expected"),
    [
        ("worker", 0, ["worker"], True),
        ("worker", 1, ["worker"], False),
        ("chief", 0, ["chief", "worker"], True),
        ("worker", 0, ["chief", "worker"], False),
        (None, None, [], True),
    ],
    ids=["first-worker", "second-worker", "chief", "worker-beside-a-chief", "alone"],
)
def test_one_process_is_the_chief(
    kind: str | None, index: int | None, jobs: list[str], expected: bool
) -> None:
    strategy = Mock(spec=tf.distribute.MultiWorkerMirroredStrategy)
    strategy.cluster_resolver = SimpleNamespace(
        task_type=kind, task_id=index, cluster_spec=lambda: SimpleNamespace(jobs=jobs)
    )
    assert is_chief(strategy) is expected
    assert is_chief(tf.distribute.get_strategy())


@pytest.mark.parametrize("strategy", [StrategyName.ONE_DEVICE, StrategyName.MIRRORED])
def test_workers_of_a_cluster_do_not_train_alone(
    monkeypatch: pytest.MonkeyPatch, strategy: StrategyName
) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster(0, ["a:1", "b:1"]))
    with pytest.raises(ConfigError, match="TF_CONFIG names 2 workers, and each would train alone"):
        make_strategy(DevicesConfig(strategy=strategy))


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_tpu_that_is_not_there_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def unreachable(tpu: str) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv("TPU_NAME", raising=False)
    if name:  # else TensorFlow itself says that there is none
        monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", unreachable)
    with pytest.raises(
        RunError, match=f"found no TPU named '{name or '.none.'}'.*trainer.tpu or TPU_NAME"
    ):
        make_strategy(DevicesConfig(strategy=StrategyName.TPU, tpu=name))


def test_a_tpu_is_looked_up_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be run here: the calls that TensorFlow asks for, in their order."""
    calls: list[Any] = []
    resolver, strategy = object(), object()
    monkeypatch.setattr(
        tf.distribute.cluster_resolver,
        "TPUClusterResolver",
        lambda tpu: (calls.append(tpu), resolver)[1],
    )
    monkeypatch.setattr(
        tf.config, "experimental_connect_to_cluster", lambda r: calls.append(("connect", r))
    )
    monkeypatch.setattr(
        tf.tpu.experimental, "initialize_tpu_system", lambda r: calls.append(("initialize", r))
    )
    monkeypatch.setattr(
        tf.distribute, "TPUStrategy", lambda r: (calls.append(("strategy", r)), strategy)[1]
    )
    monkeypatch.setenv("TPU_NAME", "of-the-machine")
    assert make_strategy(DevicesConfig(strategy=StrategyName.AUTO)) is strategy
    assert calls == [
        "of-the-machine",
        ("connect", resolver),
        ("initialize", resolver),
        ("strategy", resolver),
    ]
    make_strategy(DevicesConfig(strategy=StrategyName.TPU, tpu="mine"))
    assert calls[4] == "mine"


@pytest.mark.parametrize(
    ("scaling", "batch", "rate"),
    [(Scaling.FIXED, 32, 0.001), (Scaling.LINEAR, 128, 0.004), (Scaling.SQRT, 128, 0.002)],
)
def test_batch_and_rate_of_four_replicas(scaling: Scaling, batch: int, rate: float) -> None:
    config = TrainerConfig(scaling=scaling, batch_size=32, learning_rate=0.001)
    assert scaled(config, replicas=4, rows=1000) == (batch, pytest.approx(rate))
    assert scaled(config, replicas=1, rows=1000) == (32, 0.001)


def test_batches_that_do_not_fit_are_errors() -> None:
    with pytest.raises(
        ConfigError, match="batch_size=33 cannot be shared out evenly among 2 replicas"
    ):
        scaled(TrainerConfig(scaling=Scaling.FIXED, batch_size=33), replicas=2, rows=1000)
    with pytest.raises(
        ConfigError, match=r"a batch of 128 images is more than the training split has \(100\)"
    ):
        scaled(TrainerConfig(scaling=Scaling.SQRT, batch_size=32), replicas=4, rows=100)
