"""Several training processes on this machine, as `trainer.workers` asks for.

Each runs the same function with a TF_CONFIG of its own, as it would on a cluster; the run shows the
first one's progress. What they run is named by the caller, `trainer.train`.
"""

import contextlib
import json
import logging
import os
import socket
from types import SimpleNamespace
from typing import Any

from foundation.errors import ConfigError, GauntletError, ProcessDied, RunError
from foundation.process import Child, follow, replay, stop
from foundation.stopping import Stopped
from trainer.config import StrategyName, TrainerConfig

log = logging.getLogger("gauntlet.trainer")

SECONDS_WITHOUT_A_WORD = 3600.0
"""Time after which workers hang of which none says anything. Each tells of every step of training;
what it does not tell of is to prepare its first step and to judge an epoch."""

GOES_ON = "the same command goes on from the last whole epoch"

ARGUMENTS = (
    "custom_config",
    "transform_graph_path",
    "train_files",
    "eval_files",
    "serving_model_dir",
    "model_run_dir",
    "base_model",
    "hyperparameters",
)
"""What `run_fn` reads of TFX's FnArgs."""


def wants_workers(config: TrainerConfig) -> bool:
    """Whether this process shall start workers: several are wanted and no platform has started
    them."""
    return (
        config.strategy is StrategyName.MULTI_WORKER
        and config.workers > 1
        and not os.environ.get("TF_CONFIG")
    )


def launch_workers(function: str, fn_args: Any, count: int) -> None:
    """Run a function of `fn_args` in so many processes and wait for all of them.

    Raises:
        RunError: one of them failed or was killed, or all of them hang, as they do where one is
            stopped; the others are ended.
        ConfigError: one of them found a setting that cannot be used.
    """
    addresses = [f"localhost:{port}" for port in _free_ports(count)]
    arguments = SimpleNamespace(**{name: getattr(fn_args, name, None) for name in ARGUMENTS})
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(_start(function, arguments, addresses, i)) for i in range(count)
        ]
        log.info("training on %d workers: %s", count, ", ".join(addresses))
        try:
            failed = any(e.error for _, e in follow(workers, silence=SECONDS_WITHOUT_A_WORD))
        except ProcessDied as error:
            raise RunError(f"{error}; {GOES_ON}") from error
        except KeyboardInterrupt:
            stop(workers)
            raise
        if failed:
            reason = _reason(workers)
            for worker in workers:  # one that ends by itself waits for the others, and they for it
                worker.kill()
            raise reason


def _start(function: str, arguments: SimpleNamespace, addresses: list[str], index: int) -> Child:
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return Child(
        function,
        arguments,
        name=f"worker {index + 1} of {len(addresses)}",
        environment={"TF_CONFIG": json.dumps(task, allow_nan=False)},
        on_record=replay if index == 0 else lambda record: None,
    )


def _reason(workers: list[Child]) -> GauntletError | Stopped:
    """Why workers failed. Those that fail because another one has gone say so too, so what came
    first counts: a death, which nobody but its pipe tells of, else the earliest error."""
    for worker in workers:
        while worker.ending is None and worker.reports.poll():
            worker.receive()
    endings = [worker.ending for worker in workers if worker.ending and worker.ending.error]
    for ending in endings:
        if isinstance(ending.error, ProcessDied):
            return RunError(f"{ending.error}, and the training with it; {GOES_ON}")
    first = min(endings, key=lambda ending: ending.time)
    assert first.error
    return first.error


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("localhost", 0))
        return [opened.getsockname()[1] for opened in sockets]


def hide_gpus_of_others() -> None:
    """In a worker: leave to TensorFlow its own share of the machine's GPUs; raises ConfigError."""
    import tensorflow as tf

    config = json.loads(os.environ["TF_CONFIG"])
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(
        own_share(gpus, config["task"]["index"], len(config["cluster"]["worker"])), "GPU"
    )


def own_share(gpus: list[Any], index: int, workers: int) -> list[Any]:
    """Workers on one machine share out its GPUs evenly: a collective operation needs as many from
    each.

    Raises:
        ConfigError: it cannot be done.
    """
    if len(gpus) % workers:
        raise ConfigError(f"trainer.workers={workers} cannot share out {len(gpus)} GPUs evenly")
    return gpus[index::workers]
