"""Suites: the published one as published, and named attacks in place of a suite's own."""

import pytest

from foundation.errors import ConfigError
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    BoundName,
    FabT,
    Fgsm,
    Pgd,
    PgdDlr,
    Square,
    ThreatModel,
)
from robustness.suites import SuiteName, attacks_of, bounds_of, named, shown, suite


def test_the_published_suite_has_its_published_effort() -> None:
    """Croce & Hein 2020, the `standard` version: one restart each, nine targets, 5000 queries."""
    assert attacks_of(suite(SuiteName.AUTOATTACK)) == (
        ApgdCe(steps=100, restarts=1),
        ApgdT(steps=100, restarts=1, targets=9),
        FabT(steps=100, restarts=1, targets=9),
        Square(queries=5000, restarts=1),
    )


def test_named_attacks_replace_those_of_the_suite() -> None:
    stages = suite(SuiteName.FAST, ("square", "pgd-margin"))
    assert [attack.name for attack in attacks_of(stages)] == ["square", "pgd-margin"]
    assert bounds_of(stages) == bounds_of(suite(SuiteName.FAST))
    with pytest.raises(ConfigError, match="named once"):
        suite(SuiteName.FAST, ("pgd", "pgd:20"))


@pytest.mark.parametrize("name", SuiteName)
@pytest.mark.parametrize(
    ("text", "attack"),
    [
        ("fgsm", Fgsm()),
        ("pgd", Pgd(steps=100, restarts=5)),
        ("pgd:20", Pgd(steps=20)),
        ("pgd-dlr:7x2", PgdDlr(steps=7, restarts=2)),
        ("apgd-ce", ApgdCe(steps=100)),
        ("apgd-t:50", ApgdT(steps=50, targets=9)),
        ("square", Square(queries=5000)),
        ("square:10000x3", Square(queries=10000, restarts=3)),
    ],
)
def test_a_name_means_one_effort_in_every_suite(name: SuiteName, text: str, attack: Attack) -> None:
    assert attacks_of(suite(name, (text,))) == (attack,)


@pytest.mark.parametrize(
    "text", ["PGD", "pgd:", "pgd:0", "pgd:10x", "pgd:10x0", "pgd:-3", "pgd:1e3", "pgd:10x2x2", ""]
)
def test_no_other_text_is_an_attack(text: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown attack .* such as pgd:100x5"):
        named(text)


def test_one_step_has_no_effort_to_choose() -> None:
    with pytest.raises(ConfigError, match="fgsm is one step"):
        named("fgsm:20")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("fgsm", "fgsm"),
        ("pgd:20", "pgd (20 steps)"),
        ("pgd:100x5", "pgd (100 steps, 5 restarts)"),
        ("apgd-t", "apgd-t (100 steps, 9 targets)"),
        ("square", "square (5,000 queries)"),
    ],
)
def test_how_an_effort_is_shown(text: str, label: str) -> None:
    attack = named(text)
    assert shown(attack.name, attack.effort(ThreatModel())) == label


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
