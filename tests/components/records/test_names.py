"""Names in the records."""

import subprocess
import sys

import pytest

from components.records.names import CLEAN, FGSM, ROBUST, Origin


@pytest.mark.parametrize(
    ("origin", "text"), [(Origin(CLEAN), "clean"), (Origin(FGSM, ROBUST), "fgsm@robust")]
)
def test_an_origin_is_written_and_read(origin: Origin, text: str) -> None:
    assert str(origin) == text
    assert Origin.of(text) == origin


def test_names_are_read_without_tensorflow() -> None:
    code = (
        "import sys, components.records.names\n"
        "print([m for m in ('tensorflow', 'tfx', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
