"""Suites: the published one as published, and named attacks in place of a suite's own."""

import pytest

from foundation.errors import ConfigError
from robustness.config import ApgdCe, ApgdT, AttackName, BoundName, FabT, Square
from robustness.suites import SuiteName, attacks_of, bounds_of, suite


def test_the_published_suite_has_its_published_effort() -> None:
    """Croce & Hein 2020, the `standard` version: one restart each, nine targets, 5000 queries."""
    assert attacks_of(suite(SuiteName.AUTOATTACK)) == (
        ApgdCe(steps=100, restarts=1),
        ApgdT(steps=100, restarts=1, targets=9),
        FabT(steps=100, restarts=1, targets=9),
        Square(queries=5000, restarts=1),
    )


def test_named_attacks_replace_those_of_the_suite() -> None:
    stages = suite(SuiteName.FAST, (AttackName.SQUARE, AttackName.PGD_MARGIN))
    assert [attack.name for attack in attacks_of(stages)] == ["square", "pgd-margin"]
    assert bounds_of(stages) == bounds_of(suite(SuiteName.FAST))
    with pytest.raises(ConfigError, match="named once"):
        suite(SuiteName.FAST, (AttackName.PGD, AttackName.PGD))


@pytest.mark.parametrize("name", SuiteName)
def test_a_suite_starts_with_the_cheapest_bound_and_names_no_attack_twice(name: SuiteName) -> None:
    stages = suite(name)
    attacks = [attack.name for attack in attacks_of(stages)]
    assert stages[0] is BoundName.IBP
    assert bounds_of(stages) == tuple(bound for bound in BoundName if bound in stages), (
        "more expensive bounds come later"
    )
    assert len(set(attacks)) == len(attacks)
    assert set(stages) == {*attacks_of(stages), *bounds_of(stages)}
