"""The type checker of the tests, which `pyproject.toml` puts on every function of `robustness`."""

import sys
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int is a float, as mypy has it."""


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which has the signature to check and no body; AutoGraph is to leave it alone:
    converting what only looks at types would take as long as tracing."""
    checking = check(function)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return checking
    return tensorflow.autograph.experimental.do_not_convert(checking)
