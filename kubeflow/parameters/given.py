"""The values that a person gives when a run is submitted."""

from collections.abc import Iterable, Mapping
from typing import Any

from gauntlet_kubeflow.capabilities import refuse_what_cannot_run
from gauntlet_kubeflow.parameters.routes import TASK
from gauntlet_kubeflow.parameters.values import MANDATE, settings_of, with_values
from gauntlet_kubeflow.request import Compilation

from foundation.errors import ConfigError


def parameter_values(
    spec: Mapping[str, Any], assignments: Iterable[str], mandate: str = ""
) -> dict[str, str | int | float | bool]:
    """The values of `--param`, checked as the run will check them.

    spec: what was compiled. assignments: `section.key=value`, or `section_key=value`. mandate: of
    whoever submits, see `components.mandate.Mandate`.

    Raises:
        ConfigError: no assignment, an unknown parameter, or a wrong value.
    """
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    values: dict[str, str | int | float | bool] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace(".", "_")
        if not equals:
            raise ConfigError(f"--param takes name=value, got {assignment!r}")
        if name == MANDATE:
            raise ConfigError(
                "who answers for a run is no parameter to be set: use --replace or --force, with "
                "--reason"
            )
        if name not in known:
            settable = ", ".join(each for each in known if each != MANDATE)
            raise ConfigError(f"the compiled pipeline has no parameter {name!r}; it has {settable}")
        if name in values:
            raise ConfigError(f"--param {name} is given twice")
        values[name] = _read(name, text, known[name]["parameterType"])
    if mandate:
        if MANDATE not in known:
            raise ConfigError(
                "what an earlier Gauntlet compiled takes no --replace and no --force; compile the "
                "pipeline again"
            )
        values[MANDATE] = mandate
    request = request_of(spec)
    if request:
        changed = with_values(request, values)
        refuse_what_cannot_run(changed)
        if settings_of(changed.config) != settings_of(request.config):
            raise ConfigError(
                "these values make another graph of tasks; compile the pipeline with them"
            )
    return values


def _read(name: str, text: str, kind: str) -> str | int | float:
    try:
        return {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}[kind](text)
    except ValueError as error:
        wanted = "a whole number" if kind == "NUMBER_INTEGER" else "a number"
        raise ConfigError(f"{name} is {wanted}, got {text!r}") from error


def request_of(spec: Mapping[str, Any]) -> Compilation | None:
    """What a specification was compiled for; None where it was not compiled here."""
    executor = spec["deploymentSpec"]["executors"].get(f"{TASK}_executor")
    if executor is None:
        return None
    arguments = executor["container"]["args"]
    return Compilation.from_json(arguments[arguments.index("--request") + 1])
