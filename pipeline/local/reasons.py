"""Why a node is another one than in an earlier run: the settings that its parameters come from, or
what else they say.

Which settings a node depends on is written down nowhere: the pipeline is built once more for each
setting that has changed, and where that alone changes a node's parameters, the setting is a reason.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from operator import attrgetter
from typing import Any

from tfx.orchestration.pipeline import Pipeline

from foundation.errors import ConfigError, GauntletError
from pipeline.definition.config import RunConfig, settings, validated
from pipeline.local.runner import compiled

TOLD = {
    "code": "the code that it runs changed",
    "fingerprint": "the data changed",
    "dataset": "data.dataset changed",
    "data_dir": "the data lies elsewhere",
    "champion": "another model is served",
    "mandate": "--replace or --force",
    "stop": "--anyway, now or last time",
    "Champion.seen": "other versions or terms are there than last time",
    "LastSpan.seen": "another span was accepted last",
    "AnomalyGate.seen": "it keeps the statistics of a span, in every run",
    "Pusher.run_id": "it looks at what is served, in every run",
}
"""What a parameter that no setting decides says where it changed: by its name, or by node and
name."""

SHORT = 24
"""Letters of a value that is shown."""

Build = Callable[[RunConfig], Pipeline]


class Reasons:
    """Finds what is behind the parameters of nodes.

    config: of the run that is planned. build: makes its pipeline, or one of another configuration
    in the same place. read: the configuration of an earlier run by its name; None where it is not
    kept, or of another version.
    """

    def __init__(
        self, config: RunConfig, build: Build, read: Callable[[str], RunConfig | None]
    ) -> None:
        self._config, self._build, self._read = config, build, read
        self._of_run = cache(self._differences)

    def of(self, node: str, run_id: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
        """Why a node's parameters are others than in an execution of a run; '' where they are not.

        before, now: its parameters as the metadata have them.
        """
        names = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        if not names:
            return ""
        found = list(dict.fromkeys(self._of_run(run_id).get(node, [])))
        changed = _leaves_that_differ(names, before, now)
        told = [TOLD.get(f"{node}.{name}") or TOLD.get(name) for name in changed]
        found += [text for text in dict.fromkeys(told) if text]
        return "; ".join(found) or f"its parameters changed: {', '.join(changed)}"

    def _differences(self, run_id: str) -> dict[str, list[str]]:
        """By node, the settings that are others than in a run and change its parameters."""
        found: dict[str, list[str]] = {}
        if (then := self._read(run_id)) is None:
            return found
        if not (base := self._parameters(then)):
            return found
        for name, variant in variants(then, self._config):
            for node, text in self._parameters(variant).items():
                if text != base.get(node):
                    found.setdefault(node, []).append(change(name, then, self._config))
        return found

    def _parameters(self, config: RunConfig) -> dict[str, str]:
        """The parameters of every node, as TFX compiles them."""
        with contextlib.suppress(GauntletError, ImportError):  # data or a network that has gone
            nodes = compiled(self._build(config), "run").nodes
            return {
                node.pipeline_node.node_info.id: str(node.pipeline_node.parameters)
                for node in nodes
            }
        return {}


def variants(then: RunConfig, now: RunConfig) -> Iterator[tuple[str, RunConfig]]:
    """The settings that differ, each with an earlier configuration in which it alone is changed; a
    recipe goes with all its settings. One that cannot be changed alone is left out."""
    before, after = dataclasses.asdict(then), dataclasses.asdict(now)
    if then.recipe.name != now.recipe.name:
        with contextlib.suppress(ConfigError):
            yield "recipe.name", validated(before | {"recipe": after["recipe"]})
        before["recipe"] = after["recipe"]
    for name in settings(after):
        section, _, key = name.rpartition(".")
        old, new = (values[section] if section else values for values in (before, after))
        if old.get(key) == new[key]:
            continue
        changed = {key: new[key]} if not section else {section: old | {key: new[key]}}
        with contextlib.suppress(ConfigError):
            yield name, validated(dataclasses.asdict(then) | changed)


def change(name: str, then: RunConfig, now: RunConfig) -> str:
    """A setting with what it was and is, where that is short."""
    old, new = (str(attrgetter(name)(config)) for config in (then, now))
    if max(len(old), len(new)) > SHORT:
        return f"{name} changed"
    return f"{name} is {new}, was {old}"


def _leaves_that_differ(
    names: set[str], before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[str]:
    """Names of what differs in parameters, also within those that are JSON."""
    old, new = (
        {path: leaf for name in names for path, leaf in _leaves(name, _value(given.get(name)))}
        for given in (before, now)
    )
    paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))


def _value(value: Any) -> Any:
    """What ML Metadata keeps in a value."""
    kind = value.WhichOneof("value") if value is not None else None
    return getattr(value, kind) if kind else None


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(f"{path}.{key}", part)
    elif isinstance(value, list) and any(isinstance(part, dict | list) for part in value):
        for place, part in enumerate(value):
            yield from _leaves(f"{path}.{place}", part)
    else:
        yield path, value
