"""Suites: the published one as published, and named attacks in place of a suite's own."""

import pytest

from foundation.errors import ConfigError
from robustness.config import AttackName
from robustness.suites import SuiteName, attacks_of, bounds_of, suite


def test_the_published_suite_has_its_published_effort() -> None:
    """Croce & Hein 2020, the `standard` version: one restart each, nine targets, 5000 queries."""
    efforts = {str(a.name): (a.steps, a.restarts) for a in attacks_of(suite(SuiteName.AUTOATTACK))}
    assert efforts == {
        "apgd-ce": (100, 1),
        "apgd-t": (100, 1),
        "fab-t": (100, 1),
        "square": (5000, 1),
    }
    assert [
        a.targets for a in attacks_of(suite(SuiteName.AUTOATTACK)) if a.name.endswith("-t")
    ] == [9, 9]


def test_named_attacks_replace_those_of_the_suite() -> None:
    stages = suite(SuiteName.FAST, (AttackName.SQUARE, AttackName.PGD_MARGIN))
    assert [attack.name for attack in attacks_of(stages)] == ["square", "pgd-margin"]
    assert bounds_of(stages) == bounds_of(suite(SuiteName.FAST))
    with pytest.raises(ConfigError, match="named once"):
        suite(SuiteName.FAST, (AttackName.PGD, AttackName.PGD))
