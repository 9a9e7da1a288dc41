"""The root that the tests of this folder change."""

from pathlib import Path

import pytest
from three_runs import three_runs

from pipeline.root.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Three runs: the first two were blessed and pushed, the gates refused the third."""
    return three_runs(tmp_path)
