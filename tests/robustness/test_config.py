"""Threat models, attacks and checks as plain data: what is refused, and what is recorded."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import pytest
from attacked import KINDS

from foundation.errors import ConfigError
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    AttackName,
    CheckName,
    FabT,
    Fgsm,
    Norm,
    Pgd,
    PgdDlr,
    PgdMargin,
    Square,
    ThreatModel,
    shown_epsilon,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ThreatModel(epsilon=-0.1), "epsilon is a finite number >= 0, got -0.1"),
        (lambda: ThreatModel(epsilon=float("nan")), "epsilon is a finite number >= 0, got nan"),
        (lambda: Pgd(steps=0), "pgd: steps is at least 1, got 0"),
        (lambda: PgdMargin(steps=7, restarts=-1), "pgd-margin: restarts is at least 1, got -1"),
        (lambda: Square(queries=0), "square: queries is at least 1, got 0"),
        (lambda: Square(queries=7, restarts=0), "square: restarts is at least 1, got 0"),
        (lambda: FabT(steps=7, targets=0), "fab-t: targets is at least 1, got 0"),
        (
            lambda: Pgd(steps=7, step_size=0.0),
            "pgd: step_size is a finite number > 0 or left out, got 0.0",
        ),
        (
            lambda: Pgd(steps=7, step_size=float("nan")),
            "pgd: step_size is a finite number > 0 or left out, got nan",
        ),
        (
            lambda: PgdDlr(steps=7, momentum=-0.1),
            "pgd-dlr: momentum is a finite number >= 0, got -0.1",
        ),
        (
            lambda: Pgd(steps=7, momentum=float("inf")),
            "momentum is a finite number >= 0, got inf",
        ),
    ],
)
def test_bad_parameters(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


ASCENT = {"steps", "restarts", "step_size", "momentum"}
SETTINGS = {
    AttackName.FGSM: set(),
    AttackName.PGD: ASCENT,
    AttackName.PGD_MARGIN: ASCENT,
    AttackName.PGD_DLR: ASCENT,
    AttackName.APGD_CE: {"steps", "restarts"},
    AttackName.APGD_T: {"steps", "restarts", "targets"},
    AttackName.FAB_T: {"steps", "restarts", "targets"},
    AttackName.SQUARE: {"queries", "restarts"},
}
EVERY_SETTING = set.union(*SETTINGS.values())


@pytest.mark.parametrize("name", AttackName)
def test_a_setting_that_an_attack_does_not_have_is_refused(name: AttackName) -> None:
    kind, own = KINDS[name], SETTINGS[name]
    attack = kind(**dict.fromkeys(own, 1))
    assert (attack.name, dataclasses.asdict(attack)) == (name, dict.fromkeys(own, 1))
    for setting in EVERY_SETTING - own:
        with pytest.raises(ConfigError) as refusal:
            kind(**dict.fromkeys(own | {setting}, 1))
        shown, has = str(refusal.value).split("; ")
        assert shown == f"{name}: there is no setting {setting}"
        settings = has.removeprefix("the settings are ").split(", ")
        assert set(settings) == (own or {"it has no settings"})


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        (Fgsm(), {"steps": 1, "restarts": 1, "step_size": 0.2}),
        (Pgd(steps=20, restarts=2), {"steps": 20, "restarts": 2, "step_size": 0.025}),
        (PgdDlr(steps=20, step_size=0.1), {"steps": 20, "restarts": 1, "step_size": 0.1}),
        (
            Pgd(steps=5, momentum=0.9),
            {"steps": 5, "restarts": 1, "step_size": 0.1, "momentum": 0.9},
        ),
        (ApgdCe(steps=50), {"steps": 50, "restarts": 1}),
        (ApgdT(steps=50, targets=4), {"steps": 50, "restarts": 1, "targets": 4}),
        (FabT(steps=100), {"steps": 100, "restarts": 1, "targets": 9}),
        (Square(queries=200), {"queries": 200, "restarts": 1}),
    ],
    ids=lambda value: str(value.name) if isinstance(value, Attack) else "",
)
def test_the_effort_has_what_the_attack_has(attack: Attack, expected: dict[str, float]) -> None:
    """A step size only where it is one: 2.5 * epsilon / steps where it is left out."""
    assert attack.effort(ThreatModel(epsilon=0.2)) == pytest.approx(expected)


def test_attacks_of_one_algorithm_are_not_the_same() -> None:
    """They share fields, which alone would make them equal."""
    assert len({Pgd(steps=5), PgdMargin(steps=5), PgdDlr(steps=5)}) == 3
    assert ApgdT(steps=5) != FabT(steps=5)


def test_a_check_is_known_by_its_value_and_has_a_meaning() -> None:
    assert CheckName("proofs_hold") is CheckName.PROOFS_HOLD
    assert CheckName.PROOFS_HOLD == "proofs_hold"
    assert CheckName.PROOFS_HOLD.meaning == "no attack breaks what a bound has proven"
    assert len({check.meaning for check in CheckName} - {""}) == len(CheckName)


def test_plain_data_is_read_without_tensorflow_or_numpy() -> None:
    heavy = "('tensorflow', 'numpy', 'jaxtyping')"
    code = f"import sys, robustness.suites; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [*Norm, "l1"])
def test_a_norm_by_its_name_is_the_norm(name: str) -> None:
    """And not another one: what is not L-infinity would be taken for L2. In a process where nobody
    checks types."""
    code = (
        "from robustness import Norm, ThreatModel; "
        f"print(ThreatModel(norm={str(name)!r}).norm is Norm({str(name)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if name in set(Norm):
        assert done.stdout == "True\n", done.stderr
    else:
        assert "ConfigError: norm is one of linf, l2, got 'l1'" in done.stderr


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        (8 / 255, "8/255"),
        (0.03137255087494850, "8/255"),  # in 32 bits
        (1 / 255, "1/255"),
        (0.0314, "0.0314"),
        (0.0313725, "0.0313725"),
        (0.2, "0.2"),  # 51/255
        (1.0, "1"),
        (0.0, "0"),
        (1e-7 / 3, "3.33333e-08"),
        (1 / 3, "85/255"),
        (0.12345678, "0.123457"),
    ],
)
def test_an_epsilon_is_shown_in_grey_levels_where_it_is_a_number_of_them(
    epsilon: float, text: str
) -> None:
    assert shown_epsilon(epsilon) == text
