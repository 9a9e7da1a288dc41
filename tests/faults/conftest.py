"""The process whose children crash."""

from collections.abc import Iterator

import pytest
from crashing import Crashes


@pytest.fixture(scope="session")
def crashes() -> Iterator[Crashes]:
    """Does cases in processes that may die."""
    crashes = Crashes()
    yield crashes
    crashes.close()
