"""What the first task of a compiled pipeline runs.

python -m gauntlet_kubeflow.parameters.task --request REQUEST --code KEY --executor-input INPUT
"""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gauntlet_kubeflow.entry import OTHER_CODE, settle
from gauntlet_kubeflow.parameters.routes import (
    IMPORTER,
    code_of_spec,
    constants,
    differences,
    output_name,
)
from gauntlet_kubeflow.parameters.values import defaults, with_values
from gauntlet_kubeflow.request import Compilation

from foundation.errors import ConfigError, GauntletError
from foundation.identity import check_own_packages
from foundation.whole import write_text

EXACT = 2**53
"""Above it, whole numbers that platforms hand over as doubles are no longer what they were."""

if TYPE_CHECKING:
    from pipeline.definition.dag import Places


def main(arguments: list[str]) -> int:
    """What the task `Parameters` runs; returns the exit code."""
    settle()
    parser = argparse.ArgumentParser(description="The first task of a compiled pipeline.")
    parser.add_argument("--request", required=True, help="what was compiled, as JSON")
    parser.add_argument("--code", required=True, help="key of the code that compiled it")
    parser.add_argument("--executor-input", required=True, help="what the launcher gives, as JSON")
    given = parser.parse_args(arguments)
    try:
        check_own_packages()
        request = Compilation.from_json(given.request)
        hand_on(request, given.code, executor_input_of(given.executor_input))
    except GauntletError as error:
        sys.stderr.write(f"gauntlet: {error}\n")
        return error.exit_code
    return 0


def executor_input_of(text: str) -> dict[str, Any]:
    """What the launcher gives; raises ConfigError where it gives something else."""
    try:
        message = json.loads(text)
        if message["outputs"]["outputFile"]:
            return dict(message)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--executor-input is no executor input: {text[:200]}") from error
    raise ConfigError("--executor-input names no file for what is reported")


def hand_on(request: Compilation, code: str, executor_input: Mapping[str, Any]) -> None:
    """Write what becomes of the tasks' parameters with the values of this run.

    code: key of the code with which the pipeline was compiled.

    Raises:
        ConfigError: a wrong value, one that makes another graph, an image with other code, or a
            store that cannot be written.
    """
    kinds = {name: type(value) for name, value in defaults(request).items()}
    given = executor_input.get("inputs", {}).get("parameterValues", {})
    values = {
        name: _typed(name, given[name], kind) for name, kind in kinds.items() if name in given
    }
    changed = with_values(request, values)
    from gauntlet_kubeflow.compile import compiled_graph, places_of
    from tfx.dsl.io import fileio

    original, spec = (compiled_graph(each)["pipelineSpec"] for each in (request, changed))
    if code_of_spec(original) != code:
        raise ConfigError(f"{request.image} {OTHER_CODE}")
    check_store(places_of(changed))
    changes = {
        output_name(*address) for address in differences(original, spec) if address[0] != IMPORTER
    }
    outputs = executor_input.get("outputs", {})
    known = {output_name(*address): value for address, value in constants(spec).items()}
    answers = {name: known[name] for name in outputs.get("parameters", {})}
    if unrouted := changes - answers.keys():
        raise ConfigError(
            f"these values change {', '.join(sorted(unrouted))}, which the compiled pipeline has "
            "fixed; compile the pipeline with them"
        )
    fileio.makedirs(os.path.dirname(outputs["outputFile"]))
    write_text(outputs["outputFile"], json.dumps({"parameterValues": answers}, allow_nan=False))


def check_store(places: "Places") -> None:
    """Raises ConfigError where the store is a folder that this user cannot write, which would show
    after the training otherwise."""
    store = os.path.dirname(places.serving)
    if "://" in store:
        return
    try:
        os.makedirs(store, exist_ok=True)
        with tempfile.TemporaryFile(dir=store):
            pass
    except OSError as error:
        raise ConfigError(
            f"the store {store} cannot be written by user {os.getuid()}, as which the tasks run "
            f"({error.strerror}): give it that folder, or open it to all"
        ) from error


def _typed(name: str, value: Any, kind: type) -> Any:
    """A platform gives every number as a floating-point one."""
    if kind is str:
        if not isinstance(value, str):
            raise ConfigError(f"{name} is a text, got {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{name} is a number, got {value!r}")
    if kind is float:
        return value
    if int(value) != value or abs(value) > EXACT:
        raise ConfigError(f"{name} is a whole number that a double holds, got {value}")
    return int(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
