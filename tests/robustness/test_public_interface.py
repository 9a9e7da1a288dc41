"""What `from robustness import ...` gives, and the example that shows it."""

import doctest
import subprocess
import sys

import pytest

import robustness


def test_every_public_name_is_there() -> None:
    for name in robustness.__all__:
        found = getattr(robustness, name)
        home = getattr(found, "__module__", "robustness.config")
        assert getattr(sys.modules[home], name, found) is found


def test_every_public_name_is_listed() -> None:
    assert set(robustness.__all__) <= set(dir(robustness))


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'robustness' has no attribute 'Attackr'"):
        _ = robustness.Attackr


def test_the_example_runs_as_it_is_written() -> None:
    failed, tried = doctest.testmod(robustness)
    assert (failed, tried > 10) == (0, True)


def test_looking_at_it_imports_no_tensorflow() -> None:
    """Nor do the parts that the command line reads."""
    heavy = "('tensorflow', 'numpy', 'jaxtyping')"
    code = (
        "import sys, robustness; robustness.Attack, robustness.SuiteName, robustness.__all__; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
