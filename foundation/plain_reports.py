"""Reports of a child that runs what others wrote, such as a model's graph.

They hold numbers, texts, bytes and collections of them, log records, and errors of ours. Nothing
else that such a child sends is looked up or called.
"""

import io
import logging
import pickle
from typing import Any

from foundation import errors
from foundation.errors import ProcessDied
from foundation.process import Ending

KNOWN = {(kind.__module__, kind.__qualname__): kind for kind in (Ending, logging.LogRecord)}


def plain_report(sent: bytes) -> Ending | logging.LogRecord:
    """A report from its bytes.

    Raises:
        ProcessDied: it is something else.
    """
    try:
        report = _Reader(io.BytesIO(sent)).load()
    except Exception as error:  # anything may be wrong with what is no report
        raise ProcessDied(f"it sent what is no report: {error}") from error
    if isinstance(report, logging.LogRecord):
        return report
    if isinstance(report, Ending) and isinstance(report.error, BaseException | None):
        return report
    raise ProcessDied(f"it sent what is no report, but {type(report).__name__}")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        ours = vars(errors).get(name) if module == errors.__name__ else None
        if isinstance(ours, type) and issubclass(ours, BaseException):
            return ours
        if (module, name) not in KNOWN:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return KNOWN[module, name]
