"""Fixtures that several tests of submission share."""

import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import pytest
import yaml

from foundation.errors import ConfigError


@pytest.fixture
def checked_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """`gauntlet_kubeflow.parameters` for a pipeline in miniature, which has two parameters."""

    def parameter_values(spec: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
        known = spec["root"]["inputDefinitions"]["parameters"]
        pairs = (text.partition("=") for text in assignments)
        values = {name.replace(".", "_"): yaml.safe_load(value) for name, _, value in pairs}
        if unknown := values.keys() - known:
            raise ConfigError(f"unknown parameter {', '.join(unknown)}")
        return values

    module = ModuleType("gauntlet_kubeflow.parameters")
    module.parameter_values = parameter_values  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
