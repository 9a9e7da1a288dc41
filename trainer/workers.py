"""Several training processes on this machine, as `trainer.workers` asks for.

    python -m trainer.workers    (a line of JSON on standard input; the parent holds it open)

Each process runs the same `run_fn` with a TF_CONFIG of its own, as it would on a cluster. Log records come
back as JSON lines, so that the run shows the first worker's progress.
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
from typing import Any

from robustness.errors import ConfigError, GauntletError, RunError
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
)
"""What `run_fn` reads of TFX's FnArgs."""

SECONDS_TO_END = 10.0
"""Time in which a worker may end by itself after another one has died."""


def wants_workers(config: TrainerConfig) -> bool:
    """Whether this process shall start workers: several are wanted and no platform has started them."""
    return config.strategy is StrategyName.MULTI_WORKER and config.workers > 1 and "TF_CONFIG" not in os.environ


def launch_workers(fn_args: Any, count: int) -> None:
    """Run `run_fn` in so many processes and wait for all of them.

    Raises:
        RunError: one of them failed or was killed; the others are ended.
        ConfigError: what `run_fn` itself raises of that kind.
    """
    addresses = [f"localhost:{port}" for port in _free_ports(count)]
    arguments = {name: getattr(fn_args, name, None) for name in ARGUMENTS}
    workers = [_Worker(i, addresses, arguments) for i in range(count)]
    log.info("training on %d workers: %s", count, ", ".join(addresses))
    try:
        while any(worker.process.poll() is None for worker in workers):
            time.sleep(0.1)
            if any(worker.process.poll() for worker in workers):
                break
    finally:
        for worker in workers:
            worker.end()
    for worker in workers:
        if worker.process.returncode:
            raise _reason(workers)


def _reason(workers: list["_Worker"]) -> GauntletError:
    """What to tell of workers that failed: the one that was killed, else the one that says why it failed."""
    failed = [worker for worker in workers if worker.process.returncode and not worker.ended]
    killed = [worker for worker in failed if worker.process.returncode < 0 or not worker.error]
    explained = [worker.error for worker in failed if worker.error]
    if not killed:
        kind, message = explained[0]
        return ConfigError(message) if kind == ConfigError.__name__ else RunError(message)
    return RunError(
        f"worker {killed[0].index + 1} of {len(workers)} ended with code {killed[0].process.returncode} and the "
        "training with it; the same command goes on from the last whole epoch"
    )


class _Worker:
    """One process, and the thread that reads its records."""

    def __init__(self, index: int, addresses: list[str], arguments: dict[str, Any]) -> None:
        self.index, self.ended = index, False
        self.error: tuple[str, str] | None = None  # kind and message
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainer.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TF_CONFIG": json.dumps(task)},
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def end(self) -> None:
        """Let the process end; kill it when it does not."""
        failed = bool(self.process.poll())
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # the worker takes this as the end of its parent
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.ended = not failed and self.process.returncode != 0
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                record = json.loads(line)
            except ValueError:  # whatever a library prints
                sys.stdout.write(line)
                continue
            if "error" in record:
                self.error = record["kind"], record["error"]
            elif self.index == 0:
                log.handle(logging.makeLogRecord(record))


class _ToParent(logging.Handler):
    """Writes log records as JSON lines."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"name": record.name, "levelno": record.levelno, "levelname": record.levelname}
        fields |= {"msg": record.getMessage()} | {n: v for n, v in vars(record).items() if n == "progress"}
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()


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


def _own_share_of_gpus() -> None:
    """Workers on one machine share out its GPUs."""
    import tensorflow as tf

    config = json.loads(os.environ["TF_CONFIG"])
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[config["task"]["index"] :: len(config["cluster"]["worker"])], "GPU")


def main() -> None:
    """Run one worker."""
    arguments = json.loads(sys.stdin.readline())
    _end_with_parent()
    ours = logging.getLogger("gauntlet")
    ours.setLevel(logging.INFO)
    ours.addHandler(_ToParent())
    ours.propagate = False  # the parent writes them to the log
    try:
        _own_share_of_gpus()
        from trainer.train import run_fn

        run_fn(SimpleNamespace(**arguments))
    except Exception as error:
        traceback.print_exc()
        message = str(error) if isinstance(error, GauntletError) else f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps({"kind": type(error).__name__, "error": message}) + "\n")
        sys.stdout.flush()
        os._exit(1)  # the other workers wait in a collective operation; a normal exit would wait for them


if __name__ == "__main__":
    main()
