"""What the fresh process does: it loads an exported model as a server would, with TensorFlow alone.

It imports nothing of ours except the exception tree, so that no Keras object of ours is registered
and nothing is patched; `foundation.process`, which starts it, needs the standard library only.
"""

import contextlib
import io
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

    _forget_peak()
    before = _peak()
    try:
        outputs = signature(**{argument: tf.constant(batch, tf.string, [len(batch)])})
        return {"outputs": _npz({name: value.numpy() for name, value in outputs.items()})}
    except (tf.errors.OpError, ValueError, TypeError) as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"error": message, "megabytes": _peak() - before}


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


def _forget_peak() -> None:
    """Have the kernel measure this process's peak of memory from now on, where that may be; the
    peak so far stays otherwise, and only what goes beyond it is seen."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most memory that this process has had, in megabytes, as Linux tells it; 0 elsewhere."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) // 1024 if found else 0
    return 0
