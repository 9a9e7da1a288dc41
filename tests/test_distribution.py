"""Several replicas and workers: the same weights as one device, one writer, and a clear end when one dies."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tf_keras
from small_world import SHAPE, run_trainer, trainer_arguments, training_task

from robustness.config import ThreatModel
from robustness.errors import ConfigError, RunError
from trainer import workers
from trainer.config import RecipeConfig, RecipeName, Scaling, StrategyName, TrainerConfig, TrainingTask
from trainer.network import build_network
from trainer.recipes import build_recipe
from trainer.step import RecipeModel
from trainer.strategy import make_strategy, resolved, scaled
from trainer.train import checkpoints_of, run_fn

CHANGES: dict[RecipeName, dict[str, object]] = {
    RecipeName.PGD: {"attack_steps": 3},
    RecipeName.TRADES: {"attack_steps": 2},
    RecipeName.MTL_IBP: {"ramp": 0.5, "warm_up": 0.5},
    RecipeName.SABR: {"ramp": 0.5},
}
SETTINGS = {"epochs": 2, "scaling": "fixed", "weight_averaging": 0.9, "l1": 1e-3}


def task_of(recipe: RecipeName, **changes: object) -> dict[str, object]:
    return training_task(recipe, CHANGES.get(recipe), **(SETTINGS | changes))


def arguments_of(small_world: SimpleNamespace, folder: Path, task: dict[str, object]) -> dict[str, object]:
    return trainer_arguments(small_world, folder, task)


def weights_of(folder: Path) -> list[np.ndarray]:
    return tf_keras.models.load_model(folder / "Format-Serving", compile=False).get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_end_with_the_weights_of_one_device(
    small_world: SimpleNamespace, tmp_path: Path, replicas: int
) -> None:
    """MirroredStrategy on virtual CPUs at the same global batch, every recipe, by gradient descent."""
    recipes = list(RecipeName) if replicas == 2 else [RecipeName.MTL_IBP]
    todo = {
        f"{recipe}.{strategy}": trainer_arguments(
            small_world, tmp_path / f"{recipe}-{strategy}", task_of(recipe, strategy=strategy, learning_rate=0.1)
        )
        for recipe in recipes
        for strategy in ("one_device", "mirrored")
    }
    command = [sys.executable, str(Path(__file__).parent / "replicas.py"), str(replicas), str(tmp_path / "weights.npz")]
    subprocess.run(command, input=json.dumps(todo), text=True, check=True)
    weights = np.load(tmp_path / "weights.npz")
    for name in weights.files:
        if ".one_device." in name:
            other = weights[name.replace("one_device", "mirrored")]
            np.testing.assert_allclose(other, weights[name], atol=2e-5, err_msg=name)


def workers_task(recipe: RecipeName, **changes: object) -> dict[str, object]:
    return task_of(recipe, strategy="multi_worker", workers=2, **changes)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_workers_end_with_the_weights_of_one_device(
    small_world: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two real processes; the chief alone leaves an export, logs and (while it trains) checkpoints."""
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path / "two", workers_task(RecipeName.MTL_IBP))
    run_trainer(small_world, tmp_path / "one", task_of(RecipeName.MTL_IBP))
    for a, b in zip(weights_of(tmp_path / "one"), weights_of(tmp_path / "two"), strict=True):
        assert np.mean(np.abs(a - b)) < 2e-4  # Adam makes some rounding large
        np.testing.assert_allclose(a, b, atol=1e-2)
    assert "2 replicas" in caplog.text
    assert caplog.text.count("epoch 2: loss") == 1, "one worker's progress"
    events = [name for name in files_of(tmp_path / "two" / "logs") if "tfevents" in name]
    assert sorted(Path(name).parent.name for name in events) == ["train", "validation"]
    assert not files_of(tmp_path / "two" / "checkpoints")


def started_by(parent: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(") ")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


@pytest.mark.slow
def test_a_killed_worker_ends_the_training_and_the_next_run_resumes(
    small_world: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = workers_task(RecipeName.FAST, epochs=2000)
    failures: list[BaseException] = []

    def train() -> None:
        try:
            run_trainer(small_world, tmp_path / "run", task)
        except RunError as error:
            failures.append(error)

    before = set(started_by(os.getpid()))
    with caplog.at_level(logging.INFO, "gauntlet"):
        training = threading.Thread(target=train)
        training.start()
        while "epoch 3: loss" not in caplog.text:
            assert training.is_alive(), failures
            time.sleep(0.1)
        killed = max(set(started_by(os.getpid())) - before)
        os.kill(killed, signal.SIGKILL)
        begin = time.monotonic()
        training.join(timeout=60)
    assert time.monotonic() - begin < workers.SECONDS_TO_END + 5
    (failure,) = failures
    assert "worker 2 of 2 ended with code -9" in str(failure)
    assert "goes on from the last whole epoch" in str(failure)
    assert set(started_by(os.getpid())) == before
    assert not (tmp_path / "run" / "Format-Serving").exists()

    caplog.clear()
    (state,) = (tmp_path / "run" / "checkpoints").glob("*/state.json")
    done = json.loads(state.read_text())["epoch"]
    assert done >= 3
    shortened = json.loads(json.dumps(task))
    shortened["config"]["epochs"] = done + 2
    arguments = trainer_arguments(small_world, tmp_path / "run", shortened)
    new = state.parent.parent / folder_of(arguments)
    state.parent.rename(new)
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_fn(SimpleNamespace(**arguments))
    assert f"going on after epoch {done}" in caplog.text
    assert (tmp_path / "run" / "Format-Serving" / "saved_model.pb").exists()


def folder_of(arguments: dict[str, object]) -> str:
    """Name of the checkpoints' folder for these arguments of `run_fn`."""
    task = pydantic.TypeAdapter(TrainingTask).validate_python(arguments["custom_config"])
    return Path(checkpoints_of(task, SimpleNamespace(**arguments))).name


@pytest.mark.slow
def test_a_workers_mistake_is_told(small_world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a batch of 4096 images is more than the training split has"):
        run_trainer(small_world, tmp_path, workers_task(RecipeName.FAST, batch_size=4096))


@pytest.mark.slow
def test_workers_that_a_platform_starts(small_world: SimpleNamespace, tmp_path: Path) -> None:
    """TF_CONFIG is there already: each process calls `run_fn` alone, all with one output folder; none returns before
    the export is there."""
    arguments = trainer_arguments(small_world, tmp_path, workers_task(RecipeName.FAST))
    addresses = [f"localhost:{port}" for port in workers._free_ports(2)]
    code = (
        "import json, sys, pathlib, types\n"
        "from trainer.train import run_fn\n"
        "arguments = json.load(sys.stdin)\n"
        "run_fn(types.SimpleNamespace(**arguments))\n"
        "print(pathlib.Path(arguments['serving_model_dir'], 'assets.extra', 'settings.json').exists())"
    )
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CONFIG": json.dumps(config)},
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(arguments))
        process.stdin.close()
        processes.append(process)
    for process in processes:
        assert process.wait(120) == 0
        assert process.stdout is not None
        assert process.stdout.read().split()[-1] == "True"


def strategy_for(name: str, **changes: object) -> TrainerConfig:
    return TrainerConfig(strategy=StrategyName(name), **changes)


@pytest.mark.parametrize(
    ("environment", "gpus", "expected"),
    [
        ({}, 0, "one_device"),
        ({}, 1, "one_device"),
        ({}, 4, "mirrored"),
        ({"TF_CONFIG": '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {}}'}, 4, "multi_worker"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}, "task": {}}'}, 0, "one_device"),
        ({"TPU_NAME": "local"}, 0, "tpu"),
    ],
    ids=["cpu", "one-gpu", "gpus", "cluster", "cluster-of-one", "tpu"],
)
def test_auto_takes_what_is_there(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], gpus: int, expected: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [kind] * gpus)
    assert resolved(StrategyName.AUTO) == expected
    assert resolved(StrategyName.MIRRORED) == "mirrored", "only auto looks around"


def test_strategies_by_name() -> None:
    assert isinstance(make_strategy(strategy_for("mirrored")), tf.distribute.MirroredStrategy)
    one = make_strategy(strategy_for("one_device"))
    assert not isinstance(one, tf.distribute.MirroredStrategy)
    assert one.num_replicas_in_sync == 1


def test_a_tpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(RunError, match=r"found no TPU named 'nowhere'.*trainer\.tpu or TPU_NAME"):
        make_strategy(strategy_for("tpu", tpu="nowhere"))


def test_the_memory_of_gpus_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    grown = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on)))
    make_strategy(strategy_for("one_device"))
    assert grown == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize(
    ("scaling", "batch", "rate"),
    [(Scaling.FIXED, 32, 0.1), (Scaling.LINEAR, 128, 0.4), (Scaling.SQRT, 128, 0.1 * math.sqrt(4))],
)
def test_batch_and_rate_grow_by_the_stated_rule(scaling: Scaling, batch: int, rate: float) -> None:
    config = TrainerConfig(batch_size=32, learning_rate=0.1, scaling=scaling)
    assert scaled(config, 4, 1000) == (batch, pytest.approx(rate))
    assert scaled(config, 1, 1000) == (32, pytest.approx(0.1))


def test_batches_that_cannot_be_shared_out() -> None:
    with pytest.raises(ConfigError, match="batch_size=30 cannot be shared out evenly among 4 replicas"):
        scaled(TrainerConfig(batch_size=30, scaling=Scaling.FIXED), 4, 1000)
    with pytest.raises(ConfigError, match="a batch of 128 images is more than the training split has"):
        scaled(TrainerConfig(batch_size=32), 4, 100)
    with pytest.raises(ConfigError, match=r"workers=2 needs trainer\.strategy=multi_worker"):
        TrainerConfig(workers=2)


STEPPING = [name for name in RecipeName if name is not RecipeName.TUTORIAL]


def a_step(
    recipe: RecipeName, jit_compile: bool, precision: str = "float32"
) -> tuple[float, list[np.ndarray], set[str]]:
    """Loss and weights of one compiled step, and the types of its operations."""
    tf_keras.utils.set_random_seed(3)
    tf_keras.mixed_precision.set_global_policy(precision)
    try:
        network = build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, 3)
        built = build_recipe(RecipeConfig(name=recipe, **CHANGES.get(recipe, {})), network, ThreatModel(epsilon=0.1))
        model = RecipeModel(network, built, epsilon=0.1, ramp_steps=0, global_batch=8, l1=0.0, seed=0)
        model.compile(tf_keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    x = np.random.default_rng(0).random((8, *SHAPE), np.float32)
    batch = {"image": x, "label": np.arange(8) % 3, "position": np.arange(8)}
    step = tf.function(model.train_step, jit_compile=jit_compile)
    data = {name: tf.constant(column) for name, column in batch.items()}
    operations = {op.type for op in step.get_concrete_function(data).graph.get_operations()}
    loss = float(step(data)["loss"])
    return loss, network.get_weights(), operations


@pytest.mark.slow
@pytest.mark.parametrize("recipe", STEPPING)
def test_a_step_compiles_with_xla(recipe: RecipeName) -> None:
    """XLA is what a TPU runs: static shapes, and nothing on the host."""
    loss, weights, operations = a_step(recipe, jit_compile=False)
    compiled_loss, compiled_weights, _ = a_step(recipe, jit_compile=True)
    assert not operations & {"PyFunc", "EagerPyFunc", "NumpyFunction", "HostCompute"}
    assert "While" not in "".join(sorted(operations)), "the attack is unrolled"
    if recipe is RecipeName.UNDEFENDED:  # elsewhere XLA's generator draws other noise
        assert compiled_loss == pytest.approx(loss, rel=1e-4)
        for a, b in zip(weights, compiled_weights, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert compiled_loss == pytest.approx(loss, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("recipe", STEPPING)
def test_a_step_in_mixed_precision(recipe: RecipeName, precision: str) -> None:
    loss, weights, _ = a_step(recipe, jit_compile=False)
    mixed_loss, mixed_weights, _ = a_step(recipe, jit_compile=False, precision=precision)
    assert mixed_loss == pytest.approx(loss, rel=0.02)
    tf_keras.utils.set_random_seed(3)
    before = build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, 3).get_weights()
    moved, mixed_moved = (
        np.concatenate([(a - b).ravel() for a, b in zip(w, before, strict=True)]) for w in (weights, mixed_weights)
    )
    cosine = moved @ mixed_moved / np.linalg.norm(moved) / np.linalg.norm(mixed_moved)
    assert cosine > 0.85  # the attack of trades begins where its loss is flat


@pytest.mark.slow
def test_a_model_trained_in_mixed_precision_is_exported_in_float32(
    small_world: SimpleNamespace, tmp_path: Path
) -> None:
    run_trainer(small_world, tmp_path, training_task("fast", precision="mixed_bfloat16"))
    network = tf_keras.models.load_model(tmp_path / "Format-Serving", compile=False)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
