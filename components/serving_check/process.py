"""What the fresh process does: it loads an exported model as a server would, with TensorFlow alone.

It imports nothing of ours except the exception tree, so that no Keras object of ours is registered
and nothing is patched; `foundation.process`, which starts it, needs the standard library only.
"""

from typing import Any

from foundation.errors import RunError

Requests = dict[str, dict[str, list[bytes]]]
"""By signature and name of the request: a batch of strings."""

Answer = dict[str, Any] | str
"""By name of the output: an array; or the message of the error."""

Answers = dict[str, dict[str, Answer] | str]
"""By signature and name of the request; a sentence where there is no such signature, or where
nothing is asked of one that is there."""

UNKNOWN = (
    "nobody knows what it must answer, so that nothing compared it with the evaluated model; leave "
    "it out of the export"
)


def answers(model: str, requests: Requests) -> Answers:
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
) -> dict[str, Answer] | str:
    if name not in signatures:
        return f"there is no such signature; there are {', '.join(signatures) or 'none'}"
    (argument,) = signatures[name].structured_input_signature[1]
    return {kind: _answer(signatures[name], argument, batch) for kind, batch in batches.items()}


def _answer(signature: Any, argument: str, batch: list[bytes]) -> Answer:
    import tensorflow as tf

    try:
        outputs = signature(**{argument: tf.constant(batch, tf.string, [len(batch)])})
        return {name: value.numpy() for name, value in outputs.items()}
    except (tf.errors.OpError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
