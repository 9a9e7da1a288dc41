"""Several replicas train like one device, whatever the recipe: on virtual CPUs, and on real
processes."""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tf_keras
from replicas import RECIPES, task_of, train
from small_world import SHAPE, run_trainer, training_task

import trainer.training
import trainer.workers
from foundation.errors import ConfigError, GauntletError, ProcessDied, RunError
from foundation.process import Child, Ending
from trainer.checkpoints import Progress
from trainer.config import Scaling, StrategyName, TrainerConfig, TrainingTask
from trainer.strategy import (
    cluster_workers,
    is_chief,
    make_strategy,
    resolved,
    scaled,
    told_of_lost_workers,
)
from trainer.workers import own_share, wants_workers

ON_FOUR = ("trades", "mtl-ibp")
"""Recipes that are also trained on four devices."""

ON_WORKERS = ("tutorial", "mtl-ibp")
"""Recipes trained here on two workers: NSL's own model, and the one with most in its loss. The
platform's case below trains `pgd` (`fast` is that with one step), and the killed training
`undefended`."""


def replicas(
    world: SimpleNamespace,
    output: Path,
    strategy: str,
    devices: int,
    recipes: Sequence[str],
    **env: str,
):
    """The running process of `replicas.py`."""
    script = str(Path(__file__).parents[1] / "support" / "replicas.py")
    arguments = [world.transform, world.examples, str(output), strategy, str(devices), *recipes]
    output.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        env=os.environ | env,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def results(process: subprocess.Popen[bytes], output: Path) -> dict[str, np.ndarray]:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors.decode()[-3000:]
    return dict(np.load(output))


def cluster(index: int, addresses: list[str]) -> str:
    """A TF_CONFIG."""
    return json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    )


@pytest.fixture(scope="module")
def one_device(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("one")
    trained = {
        recipe: train(small_world, recipe, tf.distribute.get_strategy(), folder)
        for recipe in RECIPES
    }
    return {
        f"{recipe}-{name}": value
        for recipe, found in trained.items()
        for name, value in found.items()
    }


@pytest.fixture(scope="module")
def two_devices(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    output = tmp_path_factory.mktemp("two") / "out.npz"
    return results(replicas(small_world, output, "mirrored", 2, list(RECIPES)), output)


@pytest.fixture(scope="module")
def four_devices(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    output = tmp_path_factory.mktemp("four") / "out.npz"
    return results(replicas(small_world, output, "mirrored", 4, ON_FOUR), output)


@pytest.fixture(scope="module")
def two_workers(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, np.ndarray]]]:
    """The folder that both workers share, and the results of each."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = [f"localhost:{port}" for port in trainer.workers._free_ports(2)]
    outputs = [folder / f"{i}.npz" for i in range(2)]
    processes = [
        replicas(
            small_world, outputs[i], "multi_worker", 1, ON_WORKERS, TF_CONFIG=cluster(i, addresses)
        )
        for i in range(2)
    ]
    return folder, [results(*pair) for pair in zip(processes, outputs, strict=True)]


def assert_like_one_device(
    found: dict[str, np.ndarray], one: dict[str, np.ndarray], recipe: str
) -> None:
    """The gradient of the first step tightly: it differs by the order of a few sums. The weights
    after twelve steps less so: Adam divides by the root of the second moment, which lifts rounding
    in small gradients to the size of a step (0.01), and every later step starts from there."""
    for name, atol in (("gradient", 1e-5), ("weights", 1e-4)):
        expected = one[f"{recipe}-{name}"]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(
            found[f"{recipe}-{name}"], expected, rtol=0, atol=atol, err_msg=name
        )


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_devices_train_like_one(
    recipe: str, one_device: dict[str, np.ndarray], two_devices: dict[str, np.ndarray]
) -> None:
    assert_like_one_device(two_devices, one_device, recipe)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ON_FOUR)
def test_four_devices_train_like_one(
    recipe: str, one_device: dict[str, np.ndarray], four_devices: dict[str, np.ndarray]
) -> None:
    assert_like_one_device(four_devices, one_device, recipe)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ON_WORKERS)
def test_two_workers_train_like_one_device(
    recipe: str,
    one_device: dict[str, np.ndarray],
    two_workers: tuple[Path, list[dict[str, np.ndarray]]],
) -> None:
    for found in two_workers[1]:
        assert_like_one_device(found, one_device, recipe)


@pytest.mark.slow
def test_where_the_platform_starts_the_workers_only_the_chief_writes(
    small_world: SimpleNamespace,
    two_workers: tuple[Path, list[dict[str, np.ndarray]]],
    tmp_path: Path,
) -> None:
    """`run_fn` with TF_CONFIG and the same folders on both workers, and a number of workers that it
    must ignore."""
    shared = two_workers[0] / "platform"
    assert len(list((shared / "logs" / "train").glob("events*"))) == 1
    assert not list((shared / "checkpoints").iterdir())
    run_trainer(small_world, tmp_path, task_of("pgd"))
    assert_same_weights(shared, tmp_path, atol=1e-4)


def assert_same_weights(folder: Path, other: Path, atol: float) -> None:
    first, second = (
        tf_keras.models.load_model(f / "Format-Serving", compile=False).get_weights()
        for f in (folder, other)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


class OnRecord(logging.Handler):
    """Keeps the trainer's log messages, and calls a function once, at the first that begins so."""

    def __init__(self, beginning: str = "", action: Any = None) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._beginning, self._action = beginning, action

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        if self._action and self.messages[-1].startswith(self._beginning):
            action, self._action = self._action, None
            action()

    def __enter__(self) -> "OnRecord":
        logging.getLogger("gauntlet").setLevel(logging.INFO)
        logging.getLogger("gauntlet.trainer").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("gauntlet.trainer").removeHandler(self)


@pytest.mark.slow
def test_a_killed_worker_ends_the_training_and_the_next_run_goes_on(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what went on ends with the weights of a training on one device that nobody disturbed."""
    workers: list[Any] = []
    killed: list[float] = []

    class Noted(Child):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            workers.append(self)

    def kill() -> None:
        killed.append(time.monotonic())
        workers[1].process.send_signal(signal.SIGKILL)

    monkeypatch.setattr(trainer.workers, "Child", Noted)
    settings: dict[str, Any] = {"epochs": 8, "scaling": "fixed"}
    task = training_task("undefended", strategy="multi_worker", workers=2, **settings)
    with (
        OnRecord("epoch 2:", kill),
        pytest.raises(RunError, match=r"worker 2 of 2 ended with code -9 .*goes on"),
    ):
        run_trainer(small_world, tmp_path / "workers", task)
    assert time.monotonic() - killed[0] < 15
    assert all(worker.process.poll() is not None for worker in workers)
    assert not (tmp_path / "workers/Format-Serving").exists()
    with OnRecord() as record:
        run_trainer(small_world, tmp_path / "workers", task)
    (begin,) = (message for message in record.messages if message.startswith("training undefended"))
    assert begin.endswith(
        tuple(f"2 replicas, batches of 16, going on after epoch {n}" for n in (2, 3, 4))
    ), begin
    assert [m for m in record.messages if m.startswith("epoch 8:")]
    assert not list((tmp_path / "workers/checkpoints").iterdir())
    assert (
        len(list((tmp_path / "workers/logs/train").glob("events*"))) == 2
    )  # the chief's, of both runs
    run_trainer(small_world, tmp_path / "one", training_task("undefended", **settings))
    assert_same_weights(tmp_path / "workers", tmp_path / "one", atol=1e-3)


@pytest.mark.slow
def test_an_error_in_a_worker_is_the_runs_error(
    small_world: SimpleNamespace, tmp_path: Path
) -> None:
    task = training_task(
        "undefended", strategy="multi_worker", workers=2, batch_size=15, scaling="fixed"
    )
    with pytest.raises(
        ConfigError, match="batch_size=15 cannot be shared out evenly among 2 replicas"
    ):
        run_trainer(small_world, tmp_path, task)


def failed(error: GauntletError, seconds: float) -> Any:
    return SimpleNamespace(ending=Ending(error=error, time=seconds))


def test_what_came_first_is_why_workers_failed() -> None:
    finished, running = SimpleNamespace(ending=Ending()), SimpleNamespace(ending=None)
    running.reports = SimpleNamespace(poll=lambda: False)
    late, early = failed(RunError("another worker is gone"), 2), failed(ConfigError("batch"), 1)
    assert trainer.workers._reason([finished, late, running, early]) is early.ending.error
    dead = failed(ProcessDied("worker 3 of 3 ended with code -9"), 3)
    told = trainer.workers._reason([late, early, dead])
    assert str(told).startswith("worker 3 of 3 ended with code -9 and the training with it; the ")


def test_workers_end_with_their_parent() -> None:
    """However it ends."""
    code = """
from types import SimpleNamespace
import trainer.workers

class Noted(trainer.workers.Child):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.process.pid, flush=True)

trainer.workers.Child = Noted
trainer.workers.launch_workers("trainer.train:run_worker", SimpleNamespace(), 2)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    ends = [os.pidfd_open(int(parent.stdout.readline())) for _ in range(2)]
    parent.kill()
    parent.wait()
    for end in ends:
        assert select.select([end], [], [], 20)[0], "still there"
        os.close(end)


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


def test_workers_share_out_the_gpus_of_a_machine() -> None:
    assert [own_share(["a", "b", "c", "d"], i, 2) for i in range(2)] == [["a", "c"], ["b", "d"]]
    assert own_share([], 1, 2) == []
    with pytest.raises(ConfigError, match="workers=2 cannot share out 3 GPUs evenly"):
        own_share(["a", "b", "c"], 0, 2)


def test_workers_are_started_only_where_no_platform_has_started_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several = TrainerConfig(strategy=StrategyName.MULTI_WORKER, workers=2)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert wants_workers(several)
    assert not wants_workers(TrainerConfig(strategy=StrategyName.MULTI_WORKER))
    monkeypatch.setenv("TF_CONFIG", cluster(0, ["a:1", "b:1"]))
    assert not wants_workers(several)


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
        make_strategy(TrainerConfig(strategy=strategy))


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
        make_strategy(TrainerConfig(strategy=StrategyName.TPU, tpu=name))


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
    assert make_strategy(TrainerConfig(strategy=StrategyName.AUTO)) is strategy
    assert calls == [
        "of-the-machine",
        ("connect", resolver),
        ("initialize", resolver),
        ("strategy", resolver),
    ]
    make_strategy(TrainerConfig(strategy=StrategyName.TPU, tpu="mine"))
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


def test_several_workers_need_their_strategy() -> None:
    with pytest.raises(
        ConfigError, match=r"trainer.workers=2 needs trainer.strategy=multi_worker, got mirrored"
    ):
        TrainerConfig(strategy=StrategyName.MIRRORED, workers=2)


def test_a_worker_that_is_not_the_chief_leaves_an_empty_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFX looks for one; where it is the chief's, nothing is written into it."""
    monkeypatch.setattr(trainer.training, "is_chief", lambda strategy: False)
    task = pydantic.TypeAdapter(TrainingTask).validate_python(
        training_task("undefended") | {"checkpoints": ""}
    )
    split = {"image": np.zeros((16, *SHAPE), np.float32), "label": np.zeros(16, np.int64)}
    training = trainer.training.Training(
        task, tf.distribute.get_strategy(), split, split, str(tmp_path / "c")
    )
    training.export(None, str(tmp_path / "own"), Progress())
    assert list((tmp_path / "own").iterdir()) == []
