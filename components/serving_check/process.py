"""The fresh process that loads an exported model as a server would: with TensorFlow alone.

    python -m components.serving_check.process MODEL REQUESTS ANSWERS

REQUESTS is a pickle of {signature: {name of the request: list of bytes}}, ANSWERS a pickle of
{signature: {name of the request: answer}}; an answer is {name of the output: array}, or the message
of the error. The key `error` alone says that the model could not be loaded.
"""

import os
import pickle
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


def answer(signature: Any, argument: str, request: list[bytes]) -> dict[str, Any] | str:
    """What a signature makes of a request."""
    import tensorflow as tf

    try:
        outputs = signature(**{argument: tf.constant(request, tf.string, [len(request)])})
        return {name: value.numpy() for name, value in outputs.items()}
    except (tf.errors.OpError, ValueError, TypeError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def main() -> None:
    """Load, answer, write the answers."""
    model, requests_file, answers_file = sys.argv[1:]
    import tensorflow as tf

    with open(requests_file, "rb") as file:
        requests = pickle.load(file)
    answers: dict[str, Any] = {}
    try:
        signatures = (loaded := tf.saved_model.load(model)).signatures
    except Exception as error:  # whatever is wrong with a file of a user's model
        answers = {"error": f"{type(error).__name__}: {error}"}
    else:
        for name, batches in requests.items():
            if name not in signatures:
                answers[name] = (
                    f"there is no such signature; there are {', '.join(signatures) or 'none'}"
                )
                continue
            (argument,) = signatures[name].structured_input_signature[1]
            answers[name] = {
                kind: answer(signatures[name], argument, batch) for kind, batch in batches.items()
            }
        del loaded
    with open(answers_file, "wb") as file:
        pickle.dump(answers, file)


if __name__ == "__main__":
    main()
