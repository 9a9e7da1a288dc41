"""Damaged model files, and what a process of little memory and time says of each."""

import dataclasses
import json
import random
import resource
import signal
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from small_world import CLASSES, SHAPE, small_images

MEMORY = 2 << 30
"""Bytes that loading may take, beyond what the libraries have taken."""

SECONDS = 60
"""Time for one file, after which the process is ended by signal 14."""

Bytes = Callable[[bytes, random.Random], bytes]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(1, len(content))]


def flipped(content: bytes, rng: random.Random) -> bytes:
    """A few bits, most of them near the beginning, where formats keep their lengths."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 4, 16])):
        changed[int(len(changed) * rng.random() ** 3)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def filled(content: bytes, rng: random.Random) -> bytes:
    begin = rng.randrange(len(content))
    run = bytes([rng.choice([0x00, 0x7F, 0xFF])]) * rng.randrange(1, 64)
    return content[:begin] + run + content[begin + len(run) :]


def repeated(content: bytes, rng: random.Random) -> bytes:
    begin, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:end] + content[begin:]


MUTATIONS: list[Bytes] = [cut, flipped, filled, repeated]

ODD: list[Any] = [None, -1, 0, 1e300, 10**6, 10**30, "", "x" * 99, [], {}, [[]], True, float("nan")]


def mutated_json(config: Any, rng: random.Random) -> Any:
    """A configuration with one of its values replaced."""
    places: list[tuple[Any, Any]] = []
    left = [config]
    while left:
        part = left.pop()
        items = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in items:
            places.append((part, key))
            left += [value] if isinstance(value, dict | list) else []
    part, key = rng.choice(places)
    part[key] = rng.choice(ODD)
    return config


def mutated_entry(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """A `.keras` file with one of its files changed, and checksums that are right."""
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    content[name] = change(content[name])
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in content.items():
            archive.writestr(each, data)


def outcomes(request: tuple[Path, list[Path]]) -> None:
    """Load each file and ask it; write a line for each into a file, the first word of which is
    what happened."""
    from trainer.models.load import load_model  # before the memory is limited

    results, paths = request
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    with results.open("a") as lines:
        for path in paths:
            lines.write(f"{json.dumps(str(path))} ")
            lines.flush()
            signal.alarm(SECONDS)
            lines.write(json.dumps(outcome(load_model, path)) + "\n")
            signal.alarm(0)
            lines.flush()


def outcome(load_model: Callable[..., Any], path: Path) -> str:
    from foundation.errors import GauntletError
    from trainer.models.choice import Wanted

    images = small_images(4, 2)[0] / 255
    try:
        model = load_model(path, Wanted(image_shape=SHAPE)).model
        shape = model(images.astype("float32"), training=False).shape
    except GauntletError as error:
        return f"refused {error}"
    except BaseException:
        return f"traceback {traceback.format_exc()}"
    return "loaded" if shape == (4, CLASSES) else f"odd {shape}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    path: Path
    said: str


def read(results: Path) -> Iterator[Outcome]:
    """What was written; the last file may have no outcome."""
    decoder = json.JSONDecoder()
    for line in results.read_text().splitlines():
        path, end = decoder.raw_decode(line)
        rest = line[end:].strip()
        yield Outcome(Path(path), json.loads(rest) if rest else "died")
