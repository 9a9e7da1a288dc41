"""Several replicas train like one device, whatever the recipe: on virtual CPUs, and on real
processes."""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from replicas import RECIPES, cluster, flat, train
from small_world import run_trainer, training_task

import trainer.workers
from foundation.errors import ConfigError, GauntletError, ProcessDied, RunError
from foundation.process import Child, Ending
from trainer.config import StrategyName, TrainerConfig
from trainer.workers import own_share, wants_workers

ON_FOUR = ("trades", "mtl-ibp")
"""Recipes that are also trained on four devices."""

ON_WORKERS = ("tutorial", "mtl-ibp")
"""Recipes trained here on two workers: NSL's own model, and the one with most in its loss. The
platform's case below trains `pgd` (`fast` is that with one step), and the killed training
`undefended`."""


def replicas(
    world: SimpleNamespace, folder: Path, strategy: str, *wanted: str, **env: str
) -> subprocess.Popen[bytes]:
    """The running process of `replicas.py`."""
    script = Path(__file__).parents[1] / "support" / "replicas.py"
    path = os.pathsep.join([str(script.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, script, world.transform, world.examples, folder, strategy, *wanted],
        env=os.environ | env | {"PYTHONPATH": path},  # the environment may be a safe-path one
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors.decode()[-3000:]


@pytest.fixture(scope="module")
def one_device(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("one")
    return train(small_world, list(RECIPES), tf.distribute.get_strategy(), folder)


@pytest.fixture(scope="module")
def several_devices(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, np.ndarray]]:
    """The results on two and on four devices, each of a process of its own: TensorFlow's collective
    operations know one number of devices a process."""
    folder = tmp_path_factory.mktemp("several")
    wanted = (f"2={','.join(RECIPES)}", f"4={','.join(ON_FOUR)}")
    for process in [replicas(small_world, folder, "mirrored", each) for each in wanted]:
        finish(process)
    return {count: dict(np.load(folder / f"{count}.npz")) for count in (2, 4)}


@pytest.fixture(scope="module")
def two_workers(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[dict[str, np.ndarray]]]:
    """The folder that both workers share, and the results of each."""
    folder = tmp_path_factory.mktemp("workers")
    addresses = [f"localhost:{port}" for port in trainer.workers._free_ports(2)]
    recipes = ",".join(ON_WORKERS)
    configs = [cluster(i, addresses) for i in range(2)]
    processes = [
        replicas(small_world, folder, "multi_worker", recipes, TF_CONFIG=config)
        for config in configs
    ]
    for process in processes:
        finish(process)
    return folder, [dict(np.load(folder / f"worker-{i}.npz")) for i in range(2)]


def assert_like_one_device(
    found: dict[str, np.ndarray], one: dict[str, np.ndarray], recipe: str
) -> None:
    """The gradient of the first step tightly: it differs by the order of a few sums. The weights
    after twelve steps less so: Adam divides by the root of the second moment, which lifts rounding
    in small gradients to the size of a step (0.01) for some weights, how many is the processor's
    matter, and every later step starts from there. Of `undefended` all of them together are
    compared: on a processor with oneDNN they differ by 0.003 of their norm."""
    for name, atol in (("gradient", 1e-5), ("weights", 1e-4)):
        expected, ours = one[f"{recipe}-{name}"], found[f"{recipe}-{name}"]
        assert np.abs(expected).max() > 0.01
        if (recipe, name) == ("undefended", "weights"):
            assert np.linalg.norm(ours - expected) < 0.01 * np.linalg.norm(expected)
        else:
            np.testing.assert_allclose(ours, expected, rtol=0, atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_devices_train_like_one(
    recipe: str,
    one_device: dict[str, np.ndarray],
    several_devices: dict[int, dict[str, np.ndarray]],
) -> None:
    assert_like_one_device(several_devices[2], one_device, recipe)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ON_FOUR)
def test_four_devices_train_like_one(
    recipe: str,
    one_device: dict[str, np.ndarray],
    several_devices: dict[int, dict[str, np.ndarray]],
) -> None:
    assert_like_one_device(several_devices[4], one_device, recipe)


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
    one_device: dict[str, np.ndarray], two_workers: tuple[Path, list[dict[str, np.ndarray]]]
) -> None:
    """`run_fn` with TF_CONFIG and the same folders on both workers, and a number of workers that it
    must ignore. What the chief exports is what one device trains."""
    shared = two_workers[0] / "platform"
    assert len(list((shared / "logs" / "train").glob("events*"))) == 1
    assert not list((shared / "checkpoints").iterdir())
    exported = tf_keras.models.load_model(shared / "Format-Serving", compile=False)
    weights = flat(exported.get_weights())
    np.testing.assert_allclose(weights, one_device["pgd-weights"], rtol=0, atol=1e-4)


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
        pytest.raises(RunError, match=r"worker 2 of 2 ended with signal 9 .*goes on"),
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
    two, one = (
        flat(
            tf_keras.models.load_model(
                tmp_path / name / "Format-Serving", compile=False
            ).get_weights()
        )
        for name in ("workers", "one")
    )
    assert np.linalg.norm(two - one) < 0.02 * np.linalg.norm(one)  # see assert_like_one_device


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
    dead = failed(ProcessDied("worker 3 of 3 ended with signal 9"), 3)
    told = trainer.workers._reason([late, early, dead])
    assert str(told).startswith("worker 3 of 3 ended with signal 9, and the training with it; the ")


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
