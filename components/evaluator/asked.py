"""From the settings of gates to the gates themselves. Read without TensorFlow."""

from components.evaluator.gate import (
    BEST,
    Accuracy,
    Best,
    Certified,
    Disagreement,
    FailedCheck,
    Gap,
    Gate,
    Missing,
    NoWorse,
    WorstCase,
    WorstClass,
)
from components.policy import GatesConfig
from components.records.names import CLEAN, FGSM, ROBUST, STRONGEST, UNDEFENDED, Origin

ALWAYS = ("clean", "worst_case", "certified")
"""Gates that are judged even where nothing is asked for, because a version is known by their
values."""

SERVED = 0.0002
"""Share of the rows on which the served model may answer otherwise than the attacked one did: some
attacks stop right on the boundary between two classes, where sums in another order decide."""


def gates(config: GatesConfig, class_names: tuple[str, ...] = ()) -> list[Gate]:
    """The gates, in the order in which they are shown.

    class_names: in label order, for what the gates say; empty where nobody knows them.
    """

    def accuracy(name: str, bound: float, attack: str, source: str = "") -> Accuracy:
        return Accuracy(name=name, bound=bound, argument=(str(Origin(attack, source)),))

    shares: list[Gate] = [
        accuracy("clean", config.clean, CLEAN),
        accuracy("fgsm", config.fgsm, FGSM, ROBUST),
        accuracy("white_box", config.white_box, STRONGEST, ROBUST),
        accuracy("transfer_fgsm", config.transfer_fgsm, FGSM, UNDEFENDED),
        accuracy("transfer", config.transfer, STRONGEST, UNDEFENDED),
        WorstCase(name="worst_case", bound=config.worst_case),
        Certified(name="certified", bound=config.certified),
        WorstClass(name="worst_class", bound=config.worst_class, argument=class_names),
    ]
    asked = [gate for gate in shares if gate.bound > 0.0 or gate.name in ALWAYS]
    if config.gap < 1.0:
        asked.append(Gap(name="gap", bound=config.gap))
    if config.required:
        required = tuple(map(str, config.required))
        asked.append(Missing(name="required", bound=0.0, argument=required))
    asked.append(Disagreement(name="served", bound=SERVED))
    asked += [FailedCheck(name=c, bound=0.0, argument=(c,)) for c in map(str, config.checks)]
    if config.champion > 0.0:
        asked += [
            NoWorse(name=f"champion_{on}", bound=config.champion, argument=(on,))
            for on in (CLEAN, WorstCase.quantity)
        ]
    if config.best > 0.0:
        asked.append(Best(name=BEST, bound=config.best))
    return asked
