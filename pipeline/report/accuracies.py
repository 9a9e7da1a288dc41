"""Accuracies of a run's models, from the tally by which the gates judge: one number everywhere."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from components.evaluator.tally import Tally
from components.records.names import CHAMPION, CLEAN, FGSM, NO_BOUND, Origin
from pipeline.report.run_summary import Accuracies
from robustness.evaluation import accuracies_by_stage
from robustness.suites import Stage, attacks_of


def accuracies(tally: Tally, model: str, stages: tuple[Stage, ...]) -> Accuracies:
    """Accuracies of a model.

    Args:
        tally: all images, at least one.
        model: name of the model.
        stages: bounds and attacks that the models faced.
    """
    images = tally.models[model]
    groups, n = list(images.groups()), images.images
    right = {attack: 1.0 - images.wrong_under(attack).count / n for attack in images.attacks}
    origins = {attack: Origin.of(attack) for attack in sorted(images.attacks - {CLEAN})}
    transfer = {
        attack if origin.source == CHAMPION else origin.attack: right[attack]
        for attack, origin in origins.items()
        if origin.source != model
    }
    proofs: Counter[str] = Counter()
    for group in groups:
        proofs[group.certified_by if group.robust else ""] += group.sample.count
    if all(group.certified_by == NO_BOUND for group in groups):
        stages = attacks_of(stages)
    by_stage = accuracies_by_stage(each(images.broken_by), each(proofs), stages)
    return Accuracies(
        clean=right[CLEAN],
        transfer=transfer,
        white_box=by_stage.attacks | {FGSM: right[str(Origin(FGSM, model))]},
        worst_case=images.where(lambda group: group.robust).count / n,
        certified=by_stage.certified,
        certified_by=by_stage.certified_by,
    )


def each(counts: Counter[str]) -> npt.NDArray[np.str_]:
    """Every name as often as it was counted."""
    return np.repeat(np.array(list(counts)), list(counts.values()))
