"""The end of a run: accuracies by attack and model, gates, what refused the model, where results
are."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.changes import Signature
from components.evaluator.explained import Explanation, Word
from components.records.names import ROBUST
from gauntlet.tables.sentence import in_words
from pipeline.report.run_summary import Outcome, RunSummary, Tuning
from robustness.config import shown_epsilon
from robustness.suites import shown

SHOWN_IDS = 5
"""Images that the terminal names for a refusal."""

COLOURS = {Word.PASSED: "green", Word.REFUSED: "red", Word.REPORTED: "default"}
"""Colours of what gates say; yellow where nothing was judged."""


def print_summary(summary: RunSummary, folder: Path, console: Console) -> None:
    """Print the tables of a run's summary.

    Args:
        folder: place of the run's files.
    """
    if summary.tuning:
        console.print(tuning_table(summary.tuning))
    for word, sentence in summary.judged.lines() if summary.judged else ():
        console.print(f"{word:<8} {escape(sentence)}", highlight=False, soft_wrap=True)
    console.print(accuracy_table(summary))
    console.print(gate_table(summary.gates))
    print_not_compared(summary.gates, console)
    for caveat in summary.caveats:
        console.print(f"[yellow]Caveat:[/] {escape(caveat)}", highlight=False)
    nodes = summary.nodes.values()
    cached = f"{sum(node.cached for node in nodes)} of {len(nodes)} nodes from the cache"
    results = f"{summary.seconds:.0f} s, {cached}; results in {escape(str(folder))}"
    console.print(results, highlight=False, soft_wrap=True)
    print_verdict(summary, folder, console)


def print_not_compared(gates: Iterable[Explanation], console: Console) -> None:
    """Why gates had nothing to compare with."""
    for reason in dict.fromkeys(gate.not_compared for gate in gates if gate.not_compared):
        console.print(f"[yellow]Not compared:[/] {escape(reason)}", highlight=False, soft_wrap=True)


def print_verdict(summary: RunSummary, folder: Path, console: Console) -> None:
    """What became of the model; see `print_summary`."""
    if summary.pushed:
        console.print(
            f"[green]Pushed[/] to {escape(summary.pushed)}", highlight=False, soft_wrap=True
        )
    else:
        print_refusal(summary, folder, console)
    console.print(escape(verdict(summary)), highlight=False, soft_wrap=True, style="bold")


def verdict(summary: RunSummary) -> str:
    """What was found of the robust model, and what became of it, in a sentence each."""
    robust = summary.models[ROBUST]
    shares = (robust.clean, robust.worst_case, robust.certified)
    fate = (
        f"Pushed as version {Path(summary.pushed).name}."
        if summary.pushed
        else f"Not pushed: refused{refusal(summary)}."
    )
    return f"{in_words(summary.examples['test'], *shares, summary.threat)} {fate}"


def warning(outcome: Outcome) -> str:
    """What failed after the push, and whether there was one."""
    pushed = outcome.pushed
    served = f"version {Path(pushed).name} is served: {pushed}" if pushed else "nothing was pushed"
    return "\n".join(["Warning: " + served, *(f"  {problem}" for problem in outcome.problems)])


def accuracy_table(summary: RunSummary) -> Table:
    """One row an attack, one column a model."""
    threat, models = summary.threat, summary.models
    table = Table(
        title=f"Accuracy on {summary.examples['test']:,} test images, {threat.norm}, epsilon "
        f"{shown_epsilon(threat.epsilon)}, seed {summary.seed}"
    )
    table.add_column("images")
    for model in models:
        table.add_column(model, justify="right")
    columns = [accuracy_rows(summary, model) for model in models]
    for label in columns[0]:
        shares = [column[label] for column in columns]
        table.add_row(label, *("-" if share is None else f"{share:.2%}" for share in shares))
    return table


def accuracy_rows(summary: RunSummary, model: str) -> dict[str, float | None]:
    """The shares of one model, by what the table calls them."""
    shares = summary.models[model]
    rows: dict[str, float | None] = {"clean": shares.clean}
    for attack, share in shares.transfer.items():
        name, _, source = attack.partition("@")
        rows[f"{name} image made against the {source or 'other model'}"] = share
    for attack, share in shares.white_box.items():
        rows[f"left by {shown(attack, summary.attacks.get(attack, {}))}"] = share
    rows["worst case over all of these"] = shares.worst_case
    rows["certified"] = shares.certified
    return rows


def tuning_table(tuning: Tuning) -> Table:
    """One row a trial of the search, the best first."""
    table = Table(
        title=f"Search on the validation split, clean accuracy at least {tuning.clean_floor:.2%}"
    )
    settings = list(tuning.trials[0].values)
    names = [setting.rpartition(".")[2] for setting in settings]
    for name in (*names, "clean", "PGD-20", "certified", ""):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for trial in tuning.trials:
        marks = {"chosen": trial.chosen, "front": trial.front}
        shares = (trial.clean, trial.adversarial, trial.certified)
        table.add_row(
            *(f"{trial.values[name]:.4g}" for name in settings),
            *("-" if share is None else f"{share:.2%}" for share in shares),
            ", ".join(mark for mark, holds in marks.items() if holds),
        )
    return table


def gate_table(gates: Iterable[Explanation], title: str = "Gates on the robust model") -> Table:
    """One row a gate: what was found of the model, and what had to be."""
    table = Table(title=title)
    table.add_column("gate", no_wrap=True)
    for column in ("value", "95 % interval", "bound"):
        table.add_column(column, justify="right")
    table.add_column("")
    for gate in gates:
        share = gate.interval is not None
        shown = [f"{end:.2%}" for end in gate.interval or ()]
        number = gate.value if share else gate.judged
        value = "did not run" if number is None else f"{number:.2%}" if share else f"{number:.2g}"
        bound = f"{gate.bound:.2%}" if share else f"{gate.bound:g}"
        if gate.not_compared or not gate.applies:
            value = "-"
        word = f"[{COLOURS.get(gate.word, 'yellow')}]{gate.word}"
        table.add_row(gate.name, value, " to ".join(shown), f"{gate.op} {bound}", word)
    return table


def print_refusal(summary: RunSummary, folder: Path, console: Console) -> None:
    """Who refused the model, and what each of them says."""
    console.print(
        f"[red]Refused[/]{escape(refusal(summary))}; nothing was pushed",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for problem in summary.serving_problems:
        console.print(f"[red]serving check:[/] {escape(problem)}", highlight=False, soft_wrap=True)
    for gate in summary.gates:
        for line in lines_on(gate, folder / "summary.json") if gate.refuses else ():
            console.print(line, highlight=False, soft_wrap=True)


def refusal(summary: RunSummary) -> str:
    """Who refused the model. Where every gate lets it through, its blessing was withdrawn, or given
    by hand, after an earlier run, whose evaluation this one took from the cache."""
    missed = [gate.name for gate in summary.gates if gate.refuses]
    missed += ["the serving check"] if summary.serving_problems else []
    if missed:
        return f" by {', '.join(missed)}"
    if summary.withdrawn:
        return f": this model's blessing was withdrawn (rollback {_when(summary.withdrawn)})"
    if summary.forced:
        return f": this model was blessed by hand ({_when(summary.forced)}), no run pushes it again"
    return ": nothing says why; see the log of the Pusher"


def _when(signature: Signature) -> str:
    why = f": {signature.reason}" if signature.reason else ""
    return f"on {signature.at[:10]} by {signature.by}{why}"


def lines_on(gate: Explanation, file: Path) -> list[str]:
    """What a refusing gate says, how far the model is from passing, and some of the images against
    it. file: where more of them are named."""
    lines = [f"[red]{gate.name}:[/] {escape(gate.sentence)}"]
    if gate.images_to_change:
        lines.append(f"{gate.images_to_change:,} more images must be classified correctly to pass.")
    if gate.ids:
        lines.append(escape(images_against(gate, file)))
    return lines


def images_against(gate: Explanation, file: Path) -> str:
    """How many images speak against the model, by the names of a few; the file names more."""
    shown, known = gate.ids[:SHOWN_IDS], len(gate.ids)
    against = gate.images_against or known
    more = against - len(shown)
    if not more:
        rest = ""
    elif known == against:
        rest = f" and {more:,} more in {file}"
    else:
        rest = f" and {more:,} more; {known} of the {against:,} are named in {file}"
    return f"Images against it: {', '.join(shown)}{rest}"
