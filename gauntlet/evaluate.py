"""`gauntlet evaluate`: checks what the user gave, has one model judged in a child process, shows
the results."""

import shutil
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from foundation.errors import ConfigError
from gauntlet.errors import exit_code
from gauntlet.run import check_writable, local_folder, writable_root
from gauntlet.supervisor import call
from gauntlet.tables import print_evaluation
from robustness.config import AttackName, Norm, ThreatModel
from robustness.suites import SuiteName, suite

DEFAULT_EPSILON = {Norm.LINF: 0.2, Norm.L2: 2.0}


@exit_code
def evaluate(
    model: str,
    suite_name: str,
    attacks: str | None,
    norm: str,
    epsilons: tuple[float, ...],
    json_file: Path | None,
    output: str,
    data_dir: str | None,
    sources: tuple[str, ...],
    **options: Any,
) -> int:
    """The command; returns the exit code."""
    names = attack_names(attacks)
    suite(SuiteName(suite_name), names)
    radii = tuple(dict.fromkeys(epsilons)) or (DEFAULT_EPSILON[Norm(norm)],)
    for epsilon in radii:
        ThreatModel(norm=Norm(norm), epsilon=epsilon)
    folder = writable_root(output)
    if json_file:
        check_writable(json_file)
    arguments = options | {
        "model": local_folder(model),
        "output": str(folder),
        "suite": suite_name,
        "attacks": names,
        "norm": norm,
        "epsilons": radii,
        "data_dir": data_dir and local_folder(data_dir),
        "sources": [local_folder(source) for source in sources],
    }
    console = Console()
    console.print(escape(f"evaluating {model}"), highlight=False, soft_wrap=True)
    report = call("gauntlet.evaluate:evaluate_task", arguments, folder / "log.txt", console)
    if json_file:
        shutil.copyfile(Path(report["folder"]) / "results.json", json_file)
    print_evaluation(report, console)
    return 0


def evaluate_task(task: dict[str, Any]) -> dict[str, Any]:
    """What the child process does."""
    import pydantic

    from foundation.events import phase

    with phase("TensorFlow"):
        from gauntlet.evaluation.evaluator import EvaluationTask, run_evaluation
    return run_evaluation(pydantic.TypeAdapter(EvaluationTask).validate_python(task))


def attack_names(text: str | None) -> tuple[AttackName, ...]:
    """The attacks in a comma-separated list.

    Raises:
        ConfigError: an unknown name; the message lists the known ones.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in set(AttackName)]
    if unknown or (text is not None and not names):
        raise ConfigError(
            f"unknown attack {', '.join(unknown) or repr(text)}; the attacks are "
            f"{', '.join(AttackName)}"
        )
    return tuple(AttackName(name) for name in names)
