"""What the fresh process does: it loads an exported model as a server would, with TensorFlow alone.

It imports nothing of ours except the exception tree, so that no Keras object of ours is registered
and nothing is patched; `foundation.process`, which starts it, needs the standard library only.
"""

import contextlib
import io
import mmap
import re
from pathlib import Path
from typing import Any

from foundation.errors import RunError

Requests = dict[str, dict[str, list[bytes]]]
"""By signature and name of the request: a batch of strings."""

Reply = dict[str, Any]
"""`outputs`, arrays by name as bytes of an npz file; or `error`, its message, and `megabytes`, the
memory that it took to say so. Plain values: whoever gets them runs nothing of the model's."""

Replies = dict[str, dict[str, Reply] | str]
"""By signature and name of the request; a sentence where there is no such signature, or where
nothing is asked of one that is there."""

UNKNOWN = (
    "nobody knows what it must answer, so that nothing compared it with the evaluated model; leave "
    "it out of the export"
)


def answers(model: str, requests: Requests) -> Replies:
    """Load a model and put requests to it.

    Raises:
        RunError: it cannot be loaded.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(model)
    except Exception as error:  # whatever is wrong with a file of a user's model
        raise RunError(f"{type(error).__name__}: {error}") from error
    asked = {name: _of_signature(loaded.signatures, name, requests[name]) for name in requests}
    return asked | {name: UNKNOWN for name in loaded.signatures if name not in requests}


def _of_signature(
    signatures: Any, name: str, batches: dict[str, list[bytes]]
) -> dict[str, Reply] | str:
    if name not in signatures:
        return f"there is no such signature; there are {', '.join(signatures) or 'none'}"
    (argument,) = signatures[name].structured_input_signature[1]
    return {kind: _reply(signatures[name], argument, batch) for kind, batch in batches.items()}


def _reply(signature: Any, argument: str, batch: list[bytes]) -> Reply:
    import tensorflow as tf

    with contextlib.closing(_filled()):
        before = _megabytes("VmHWM")
        try:
            outputs = signature(**{argument: tf.constant(batch, tf.string, [len(batch)])})
            return {"outputs": _npz({name: value.numpy() for name, value in outputs.items()})}
        except (tf.errors.OpError, ValueError, TypeError) as error:
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            return {"error": message, "megabytes": _megabytes("VmHWM") - before}


def _npz(outputs: dict[str, Any]) -> bytes:
    """Arrays without objects; NumPy alone reads them."""
    import numpy as np

    plain = {
        name: array.astype(bytes) if array.dtype == object else array
        for name, array in outputs.items()
    }
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **plain)
    return file.getvalue()


def _filled() -> mmap.mmap:
    """Memory that is in use, as much as this process once had and gave back: what it takes from now
    on goes beyond its peak and is seen. (To have the kernel forget the peak, one would have to
    write into /proc, which a sandbox or a container may forbid.)"""
    free = max(0, _megabytes("VmHWM") - _megabytes("VmRSS"))
    room = mmap.mmap(-1, (free + 1) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place in range(0, len(room), mmap.PAGESIZE):
        room[place] = 1  # the kernel gives a page when it is written to
    return room


def _megabytes(name: str) -> int:
    """Memory that this process has (`VmRSS`) or has had at most (`VmHWM`), as Linux tells it; 0
    elsewhere."""
    with contextlib.suppress(OSError):
        found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) // 1024 if found else 0
    return 0
