"""Several training processes on this machine, as `trainer.workers` asks for.

    python -m trainer.workers EVENTS_FD    (a line of JSON on standard input; the parent holds it
    open)

Each process runs the same `run_fn` with a TF_CONFIG of its own, as it would on a cluster. Log
records and errors come back through a pipe as JSON lines, so that the run shows the first worker's
progress.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from types import SimpleNamespace
from typing import Any, TextIO

from foundation.errors import ConfigError, GauntletError, RunError
from trainer.config import StrategyName, TrainerConfig

log = logging.getLogger("gauntlet.trainer")

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

SECONDS_TO_END = 10.0
"""Time in which a worker may end by itself when it is told to."""


def wants_workers(config: TrainerConfig) -> bool:
    """Whether this process shall start workers: several are wanted and no platform has started
    them."""
    return (
        config.strategy is StrategyName.MULTI_WORKER
        and config.workers > 1
        and not os.environ.get("TF_CONFIG")
    )


def launch_workers(fn_args: Any, count: int) -> None:
    """Run `run_fn` in so many processes and wait for all of them.

    Raises:
        RunError: one of them failed or was killed; the others are ended.
        ConfigError: one of them found a setting that cannot be used.
    """
    addresses = [f"localhost:{port}" for port in _free_ports(count)]
    arguments = {name: getattr(fn_args, name, None) for name in ARGUMENTS}
    workers: list[_Worker] = []
    try:
        for i in range(count):
            workers.append(_Worker(i, addresses, arguments))
        log.info("training on %d workers: %s", count, ", ".join(addresses))
        codes: list[int | None] = [None]
        while None in codes and not any(codes):
            time.sleep(0.1)
            codes = [worker.process.poll() for worker in workers]
    finally:
        killed = next((worker for worker in workers if (worker.process.poll() or 0) < 0), None)
        for worker in workers:
            worker.end()
    if any(worker.process.returncode for worker in workers):
        raise _reason(killed, workers)


def _reason(killed: "_Worker | None", workers: list["_Worker"]) -> GauntletError:
    """Why workers failed. Those that fail because another one has gone say so too, so what came
    first counts: a signal from outside, else the earliest error."""
    errors = sorted(
        (worker.error for worker in workers if worker.error), key=lambda error: error["time"]
    )
    if errors and not killed:
        return (ConfigError if errors[0]["kind"] == "ConfigError" else RunError)(errors[0]["error"])
    culprit = killed or next(worker for worker in workers if worker.process.returncode)
    return RunError(
        f"worker {culprit.index + 1} of {len(workers)} ended with code "
        f"{culprit.process.returncode} (killed, or out of memory) and the training with it; the "
        "same command goes on from the last whole epoch"
    )


class _Worker:
    """One process, and the thread that reads its records. error: what it said before it failed."""

    def __init__(self, index: int, addresses: list[str], arguments: dict[str, Any]) -> None:
        self.index = index
        self.error: dict[str, Any] = {}
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        reading, writing = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trainer.workers", str(writing)],
                stdin=subprocess.PIPE,
                pass_fds=[writing],
                env=os.environ | {"TF_CONFIG": json.dumps(task)},
                text=True,
            )
        finally:
            os.close(writing)
        self._reader = threading.Thread(target=self._read, args=[reading], daemon=True)
        self._reader.start()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; its exit code tells
            self.process.stdin.write(json.dumps(arguments) + "\n")
            self.process.stdin.flush()

    def end(self) -> None:
        """Let the process end; kill it when it does not."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # the worker takes this as the end of its parent
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def _read(self, reading: int) -> None:
        with os.fdopen(reading) as events:
            for line in events:
                try:
                    event = json.loads(line)
                except ValueError:  # the last line of a process that was killed while it wrote
                    continue
                if "error" in event:
                    self.error = event
                elif self.index == 0:
                    log.handle(logging.makeLogRecord(event))


class _ToParent(logging.Handler):
    """Writes log records as JSON lines."""

    def __init__(self, pipe: TextIO) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        self.send(
            fields
            | {"msg": record.getMessage()}
            | {n: v for n, v in vars(record).items() if n == "progress"}
        )

    def send(self, event: dict[str, Any]) -> None:
        self._pipe.write(json.dumps(event) + "\n")
        self._pipe.flush()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("localhost", 0))
        return [opened.getsockname()[1] for opened in sockets]


def _end_with_parent() -> None:
    """End this process when its standard input closes."""

    def wait() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def own_share(gpus: list[Any], index: int, workers: int) -> list[Any]:
    """Workers on one machine share out its GPUs evenly: a collective operation needs as many from
    each.

    Raises:
        ConfigError: it cannot be done.
    """
    if len(gpus) % workers:
        raise ConfigError(f"trainer.workers={workers} cannot share out {len(gpus)} GPUs evenly")
    return gpus[index::workers]


def _hide_gpus_of_others() -> None:
    import tensorflow as tf

    config = json.loads(os.environ["TF_CONFIG"])
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(
        own_share(gpus, config["task"]["index"], len(config["cluster"]["worker"])), "GPU"
    )


def main() -> None:
    """Run one worker."""
    handler = _ToParent(os.fdopen(int(sys.argv[1]), "w"))
    arguments = json.loads(sys.stdin.readline())
    _end_with_parent()
    logger = logging.getLogger("gauntlet")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False  # the parent's log has it
    try:
        _hide_gpus_of_others()
        from trainer.train import run_fn

        run_fn(SimpleNamespace(**arguments))
    except Exception as error:
        traceback.print_exc()
        explained = (
            str(error) if isinstance(error, GauntletError) else f"{type(error).__name__}: {error}"
        )
        handler.send({"error": explained, "kind": type(error).__name__, "time": time.time()})
        sys.stderr.flush()
        os._exit(
            1
        )  # the other workers wait in a collective operation; a normal exit would wait for them


if __name__ == "__main__":
    main()
