"""What several test files of robustness share."""

import logging
from collections.abc import Iterator

import jaxtyping
import pytest

# AutoGraph says so of each function that checks types, and goes on to what it checks.
logging.getLogger("tensorflow").addFilter(
    lambda record: "AutoGraph could not transform" not in record.getMessage()
)


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """Signatures are not checked, as outside of the tests: our own refusals are to be seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
