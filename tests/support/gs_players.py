"""Who pushes to a store and who reads it, each as a process of its own."""

import os
import signal
from collections.abc import Callable
from multiprocessing.synchronize import Barrier, Event
from queue import Queue
from typing import Any

import requests
import tensorflow as tf

from components import pusher
from components.versions import Card
from foundation.versions import SAVED_MODEL, versions

API = "https://storage.googleapis.com/storage/v1/b"


def listing(base: str) -> set[str]:
    """All names under a folder of a bucket, in one request of another client than TensorFlow's."""
    bucket, _, prefix = base.removeprefix("gs://").partition("/")
    page = requests.get(f"{API}/{bucket}/o", params={"prefix": f"{prefix}/"}, timeout=30).json()
    return {item["name"].removeprefix(f"{prefix}/") for item in page["items"]} - {""}


def half_versions(names: set[str], parts: set[str]) -> list[str]:
    """Numbers of folders that look like versions and are not whole.

    parts: the files of a whole one, relative to it.
    """
    whole = [name.partition("/")[0] for name in names if name.endswith(f"/{SAVED_MODEL}")]
    numbered = [number for number in whole if number.isdigit()]
    return [number for number in numbered if not parts <= inside(names, number)]


def inside(names: set[str], number: str) -> set[str]:
    """Files of one numbered folder, relative to it."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def push_in_rounds(
    sources: list[str], base: str, name: str, together: Barrier, pushed: "Queue[list[str]]"
) -> None:
    """Push once a round, at the moment at which the others do."""
    numbers = []
    for source in sources:
        together.wait(60)
        numbers.append(pusher.publish(source, base, Card(model=name)))
    pushed.put(numbers)


def watch(base: str, parts: set[str], ready: Event, done: Event, seen: "Queue[Any]") -> None:
    """Look all the time, until told that all is done; what was loaded, what was wrong, and how
    often it looked."""
    loaded: dict[str, float] = {}
    wrong: list[str] = []
    looks = 0
    last = False
    while not last:
        last = done.is_set()  # one more look after the last push
        wrong += half_versions(listing(base), parts)
        for number in versions(base):
            if number not in loaded:
                model = tf.saved_model.load(f"{base}/{number}")
                loaded[number] = float(model.answer().numpy())
        looks += 1
        ready.set()
    seen.put((loaded, wrong, looks))


def die_pushing(source: str, base: str, name: str, calls: int) -> None:
    """Push, and be killed right before the given call of `copy` or `rename`, counted from 0."""
    setattr(pusher.fileio, name, killing(getattr(pusher.fileio, name), calls))
    pusher.publish(source, base, Card(model="killed"))


def killing(function: Callable[..., None], calls: int) -> Callable[..., None]:
    left = iter(range(calls))

    def counted(*arguments: Any, **named: Any) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        function(*arguments, **named)

    return counted
