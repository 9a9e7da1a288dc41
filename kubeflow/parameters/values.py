"""The settings that a run can be given."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gauntlet_kubeflow.request import Compilation

from components.mandate import Mandate
from components.policy import GatesConfig
from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override

URI, FINGERPRINT = "data_uri", "data_fingerprint"
"""Parameters that are no settings: where the prepared data lies, and what it is."""

MANDATE = "mandate"
"""Another one: who answers for another purpose or a weaker policy, see
`components.mandate.Mandate`."""

KINDS = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE"}
"""Types of parameters in a specification."""


def settings_of(config: RunConfig) -> dict[str, str]:
    """The settings that a run can be given, by the names of their parameters. What would change
    the graph is none of them: spans, and the gates on champion and best, where there are none."""
    bounds = [
        f"gates.{field.name}"
        for field in dataclasses.fields(GatesConfig)
        if isinstance(getattr(config.gates, field.name), float)
    ]
    names = ["seed", "data.dataset", "data.span", "threat.epsilon", "trainer.epochs", *bounds]
    if not config.data.span:
        names.remove("data.span")
    for gate in ("champion", "best"):
        if not getattr(config.gates, gate):
            names.remove(f"gates.{gate}")
    return {name.replace(".", "_"): name for name in names}


def defaults(request: Compilation) -> dict[str, str | int | float]:
    """The values with which a pipeline was compiled, by parameter."""
    values: dict[str, Any] = {}
    for parameter, setting in settings_of(request.config).items():
        value: Any = request.config
        for part in setting.split("."):
            value = getattr(value, part)
        values[parameter] = value
    if request.data_uri:
        values |= {URI: request.data_uri, FINGERPRINT: request.data_fingerprint}
    return values | {MANDATE: request.mandate}


def with_values(request: Compilation, values: Mapping[str, str | int | float]) -> Compilation:
    """The request with other values of its parameters.

    Raises:
        ConfigError: a wrong value.
    """
    known = settings_of(request.config)
    changed = {name: value for name, value in values.items() if value != defaults(request)[name]}
    assignments = [f"{known[name]}={changed[name]}" for name in known if name in changed]
    if MANDATE in changed:
        Mandate.of_json(str(changed[MANDATE]))
    no_settings = (URI, FINGERPRINT, MANDATE)
    data = {name: str(value) for name, value in changed.items() if name in no_settings}
    if bool(data.get(FINGERPRINT, request.data_fingerprint)) != bool(request.data_fingerprint):
        raise ConfigError(
            f"whether there is a {FINGERPRINT} decides what caches know: compile the pipeline "
            f"{'without' if request.data_fingerprint else 'with'} one"
        )
    return dataclasses.replace(request, config=override(request.config, assignments), **data)
