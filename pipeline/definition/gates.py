"""The gates of a run: from the configuration to the conditions on a model. Read without
TensorFlow."""

from components.evaluator.gate import Gate, Op, Quantity
from components.records.columns import CLEAN, FGSM, ROBUST, STRONGEST, UNDEFENDED, attack_column
from pipeline.definition.config import GatesConfig, RunConfig
from robustness.suites import attacks_of, bounds_of

ALWAYS = ("clean", "worst_case", "certified")
"""Gates that are judged even where nothing is asked for, because a version is known by their
values."""

SERVED = 0.0002
"""Share of the rows on which the served model may answer otherwise than the attacked one did: some
attacks stop right on the boundary between two classes, where sums in another order decide."""


def gates(config: GatesConfig) -> list[Gate]:
    """The gates, in the order in which they are shown."""
    attacks = {
        "clean": CLEAN,
        "fgsm": attack_column(FGSM, ROBUST),
        "white_box": attack_column(STRONGEST, ROBUST),
        "transfer_fgsm": attack_column(FGSM, UNDEFENDED),
        "transfer": attack_column(STRONGEST, UNDEFENDED),
    }
    shares = [
        Gate(name=name, quantity=Quantity.ACCURACY, argument=(attack,), bound=getattr(config, name))
        for name, attack in attacks.items()
    ]
    shares += [
        Gate(name=quantity, quantity=quantity, bound=getattr(config, quantity))
        for quantity in (Quantity.WORST_CASE, Quantity.CERTIFIED, Quantity.WORST_CLASS)
    ]
    found = [gate for gate in shares if gate.bound > 0.0 or gate.name in ALWAYS]
    if config.gap < 1.0:
        found.append(Gate(name="gap", quantity=Quantity.GAP, op=Op.AT_MOST, bound=config.gap))
    if config.required:
        stages = tuple(map(str, config.required))
        found.append(
            Gate(
                name="required",
                quantity=Quantity.MISSING,
                argument=stages,
                op=Op.AT_MOST,
                bound=0.0,
            )
        )
    found.append(Gate(name="served", quantity=Quantity.DISAGREEMENT, op=Op.AT_MOST, bound=SERVED))
    found += [
        Gate(
            name=check,
            quantity=Quantity.FAILED_CHECK,
            argument=(str(check),),
            op=Op.AT_MOST,
            bound=0.0,
        )
        for check in config.checks
    ]
    if config.champion > 0.0:
        found += [
            Gate(
                name=f"champion_{on}",
                quantity=Quantity.NO_WORSE,
                argument=(on,),
                bound=config.champion,
            )
            for on in (CLEAN, str(Quantity.WORST_CASE))
        ]
    return found


def out_of_reach(config: RunConfig) -> list[str]:
    """Why no model can be pushed with this configuration; a sentence for each reason."""
    stages = config.attack.stages
    runs = {*bounds_of(stages), *(attack.name for attack in attacks_of(stages))}
    missing = [str(stage) for stage in config.gates.required if stage not in runs]
    found = (
        [f"gates.required asks for {', '.join(missing)}, which attack.* leaves out"]
        if missing
        else []
    )
    if config.gates.checks and not config.attack.checks:
        found.append("gates.checks asks for honesty checks, which attack.checks=false leaves out")
    return found
