"""What a model must reach, by the options of `check`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.bound import read_terms
from components.datasets.image_folder import is_folder
from components.policy import NO_SERVER, OPEN, GatesConfig, Terms, efforts_of
from foundation.errors import ConfigError
from gauntlet.evaluation.task import EvaluationTask
from robustness.config import WITHOUT_CONVERGENCE, CheckName

DECIDED = {
    "epsilons": "--epsilon",
    "norm": "--norm",
    "suite": "--suite",
    "attacks": "--attacks",
    "split": "--split",
    "limit": "--limit",
}
"""Fields of a task that a file of terms decides, and their options."""


ROWS_OF_A_RUN = ("fgsm", "transfer_fgsm", "transfer")
"""Gates on images that only the attack node of a pipeline makes: of every image under FGSM, and of
an undefended model."""


@dataclass(frozen=True, kw_only=True)
class Minimums:
    """What is asked for by single options: shares of the images, None where nothing is.

    file_gates: what a file of settings asks for, by the fields of `GatesConfig`.
    """

    min_clean: float | None
    min_worst_case: float | None
    min_certified: float | None
    gates_file: Path | None
    file_gates: Mapping[str, Any] = field(default_factory=dict)


def asked(task: EvaluationTask, wanted: Minimums, given: frozenset[str]) -> EvaluationTask:
    """The task with the gates, and under the terms of a file where there is one.

    Args:
        task: by the other options.
        wanted: what is asked for.
        given: names of the fields of the task that the user has named.

    Raises:
        ConfigError: nothing is asked for, the file is none, or an option says otherwise than it.
    """
    shares = {
        "clean": wanted.min_clean,
        "worst_case": wanted.min_worst_case,
        "certified": wanted.min_certified,
    }
    named = {name: share for name, share in shares.items() if share is not None}
    if wanted.gates_file:
        task = _under(task, wanted.gates_file, given)
        assert task.gates
        gates = _with(task.gates, named, str(wanted.gates_file))
        _refuse_nothing(gates)
        return dataclasses.replace(task, gates=gates)
    more = wanted.file_gates.get("checks", ())
    gates = GatesConfig(**{**vars(OPEN), **wanted.file_gates, "checks": ()})
    gates = _with(gates, named, "the settings file")
    _refuse_nothing(gates)
    _refuse_unmeasurable(gates, "the settings file")
    beside = checks_beside(gates)
    checks = tuple(check for check in CheckName if check in beside or check in more)
    return dataclasses.replace(
        task, gates=dataclasses.replace(gates, checks=checks if task.checks else ())
    )


def checks_beside(gates: GatesConfig) -> tuple[CheckName, ...]:
    """The honesty checks that stand beside bounds. Whether the attacks have converged is asked
    where a bound depends on them: on a fragile model more steps always find a little more."""
    attacked = gates.worst_case or gates.worst_class or gates.white_box or gates.gap < 1.0
    return tuple(CheckName) if attacked else WITHOUT_CONVERGENCE


def _with(gates: GatesConfig, named: Mapping[str, float], source: str) -> GatesConfig:
    """The gates with the shares of single options; raises ConfigError where one asks for less than
    the source of the gates."""
    if lower := [name for name in named if named[name] < getattr(gates, name)]:
        raise ConfigError(
            f"--min-{lower[0].replace('_', '-')} {named[lower[0]]:g} asks for less than "
            f"{source}, {getattr(gates, lower[0]):g}; leave one of them out"
        )
    return GatesConfig(**{**vars(gates), **named})


def _refuse_nothing(gates: GatesConfig) -> None:
    """Raises ConfigError where gates refuse no model: a comparison is none here."""
    if dataclasses.replace(gates, champion=0.0, best=0.0) == OPEN:
        raise ConfigError(
            "say what the model must reach: --min-clean, --min-worst-case, --min-certified (shares "
            "of the images, such as 0.9), or --gates with a gates.toml that asks for something. "
            "`gauntlet evaluate` measures without a gate"
        )


def _under(task: EvaluationTask, file: Path, given: frozenset[str]) -> EvaluationTask:
    """The task under the terms of a file."""
    terms = read_terms(file)
    assert terms  # the option takes a file that is there
    if doubled := [option for name, option in DECIDED.items() if name in given]:
        raise ConfigError(
            f"--gates {file} decides what {doubled[0]} sets: data, threat, attacks and gates are "
            "those that were reviewed; leave one of them out"
        )
    policy, purpose = terms.policy, terms.purpose
    _refuse_unmeasurable(policy.gates, file)
    result = dataclasses.replace(
        task,
        dataset=_dataset(task, terms, file, given),
        split=policy.test or task.split,
        suite=policy.attack.suite,
        attacks=policy.attack.names,
        norm=purpose.norm,
        epsilons=(purpose.epsilon,),
        checks=task.checks and policy.attack.checks,
        gates=policy.gates,
        purpose=purpose,
    )
    # A check asks no server, and judges on what it is given: `weaker` says what that is less.
    own = dataclasses.replace(policy, stages=efforts_of(result.stages), server=NO_SERVER, span=0)
    if weaker := own.weaker(policy):
        raise ConfigError(
            f"{file} asks for more than a check can: {'; '.join(weaker)}. Leave that out of a copy "
            "of the file, for checks"
        )
    return result


def _dataset(task: EvaluationTask, terms: Terms, file: Path, given: frozenset[str]) -> str:
    """The data set of the terms, or the user's, who knows where a folder lies."""
    if "dataset" not in given:
        return terms.purpose.dataset
    own = Path(task.dataset).expanduser().absolute().name if is_folder(task.dataset) else ""
    if (own or task.dataset.partition(":")[0]) != terms.purpose.dataset:
        raise ConfigError(
            f"{file} is for the data set {terms.purpose.dataset}, --dataset is {task.dataset}; "
            "judge the model on what it was reviewed for"
        )
    return task.dataset


def _refuse_unmeasurable(config: GatesConfig, source: Path | str) -> None:
    """Raises ConfigError where gates ask for what no check measures. source: who asks."""
    if asked := [f"gates.{name}" for name in ROWS_OF_A_RUN if getattr(config, name) > 0.0]:
        raise ConfigError(
            f"{source} asks for {', '.join(asked)}, which only a run measures: on images made "
            "against an undefended model that it trains, and with FGSM alone. Leave them out of a "
            "copy of the file, for checks"
        )
