"""Accuracies of the models, counted once more from the rows by hand."""

import numpy as np
import pytest
from answered import answered

from components.adversarial_example_gen.config import AttackConfig
from components.evaluator.tally import tally
from components.records.names import CLEAN, NO_BOUND
from components.records.record import Rows
from pipeline.report.accuracies import Accuracies, accuracies
from robustness.config import AttackName

STAGES = AttackConfig(names=(AttackName.FGSM, AttackName.PGD)).stages
IMAGES = 60
ATTACKS = (CLEAN, "fgsm@undefended", "strongest@undefended", "fgsm@robust", "strongest@robust")
BY_CHAMPION = ("fgsm@champion", "strongest@champion")


def rows(champion: bool) -> Rows:
    """Random answers of both models; what broke the robust one is as its own rows say."""
    rng = np.random.default_rng(3)
    attacks = (*ATTACKS, *BY_CHAMPION) if champion else ATTACKS
    right = {attack: rng.random(IMAGES) < 0.8 for attack in attacks}
    undefended = {attack: (rng.random(IMAGES) < 0.4).tolist() for attack in attacks}
    rival = {attack: [True] * IMAGES for attack in attacks} if champion else None
    pgd = np.where(right["strongest@robust"], "", "pgd")
    broken_by = np.where(right[CLEAN], np.where(right["fgsm@robust"], pgd, "fgsm"), "clean")
    every = {attack: column.tolist() for attack, column in right.items()}
    proven = np.all(list(right.values()), axis=0) & (rng.random(IMAGES) < 0.5)
    return answered(
        every, rival, proven.tolist(), undefended=undefended, broken_by=broken_by.tolist()
    )


def right(rows: Rows, model: str) -> dict[str, np.ndarray]:
    """Whether the model is right, by attack and image."""
    good = rows.predictions[model] == rows.label
    return {attack: good[rows.attack == attack] for attack in dict.fromkeys(rows.attack)}


@pytest.mark.parametrize("champion", [False, True], ids=["alone", "with-a-champion"])
@pytest.mark.parametrize("model", ["robust", "undefended"])
def test_every_figure_is_counted_from_the_rows(model: str, champion: bool) -> None:
    every = rows(champion)
    found, good = accuracies(tally(every), model, STAGES), right(every, model)
    (other,) = {"robust", "undefended"} - {model}
    assert found.clean == pytest.approx(np.mean(good[CLEAN]))
    transfer = {attack: good[f"{attack}@{other}"] for attack in ("fgsm", "strongest")}
    transfer |= {attack: good[attack] for attack in BY_CHAMPION if champion}
    assert found.transfer == pytest.approx({name: np.mean(c) for name, c in transfer.items()})
    assert found.white_box["fgsm"] == pytest.approx(np.mean(good[f"fgsm@{model}"]))
    robust = np.all(list(good.values()), axis=0)
    assert found.worst_case == pytest.approx(np.mean(robust))
    shown = [found.clean, *found.transfer.values(), found.white_box["fgsm"]]
    assert found.worst_case <= min(shown)
    proofs = np.array(every.certified_by[model][:IMAGES] == "ibp") & robust
    assert found.certified == found.certified_by["ibp"] == pytest.approx(np.mean(proofs))


def test_the_white_box_attacks_leave_less_and_less() -> None:
    every = rows(champion=False)
    found = accuracies(tally(every), "robust", STAGES)
    broken = every.broken_by["robust"][:IMAGES]
    assert list(found.white_box) == ["fgsm", "pgd"]
    assert found.certified is not None
    assert found.certified <= found.worst_case <= found.white_box["pgd"] <= found.white_box["fgsm"]
    assert found.white_box["pgd"] == pytest.approx(np.mean(broken == ""))


def test_a_proof_that_the_champions_image_refutes_is_no_proof() -> None:
    every = answered(
        {CLEAN: [True] * 4, "fgsm@robust": [True] * 4, "fgsm@champion": [True, True, True, False]},
        {attack: [True] * 4 for attack in (CLEAN, "fgsm@robust", "fgsm@champion")},
        certified=[True] * 4,
    )
    found = accuracies(tally(every), "robust", STAGES)
    assert (found.worst_case, found.certified, found.certified_by["ibp"]) == (0.75, 0.75, 0.75)


def test_where_no_bound_applies_nothing_is_certified() -> None:
    every = rows(champion=False)
    every.certified_by["robust"][:] = NO_BOUND
    found: Accuracies = accuracies(tally(every), "robust", STAGES)
    assert (found.certified, found.certified_by) == (None, {})
    assert list(found.white_box) == ["fgsm", "pgd"]
