"""A comparison of two runs: as tables of the terminal, or in GitHub's Markdown."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foundation.json import dumps
from gauntlet.history.comparison import Comparison
from gauntlet.history.figures import Compared, Share

SIGNIFICANT = 0.05
"""A p-value below it is marked; the level of the 95 % intervals."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A table, or what is said in its place, and sentences below it."""

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    sentences: tuple[str, ...] = ()


def parts_of(comparison: Comparison) -> Iterator[Part]:
    """What is said of two runs, in its order."""
    both = f"{comparison.a} (A) and {comparison.b} (B)"
    yield Part(title=f"Runs {both}", sentences=comparison.notes)
    settings = [(each.name, text_of(each.a), text_of(each.b)) for each in comparison.settings]
    nothing = () if settings or comparison.notes else ("No setting differs.",)
    header = ("setting", "A", "B")
    yield Part(title="Settings that differ", header=header, rows=tuple(settings), sentences=nothing)
    yield Part(
        title="Robust models on the test images, exact 95 % intervals",
        header=("", "A", "B", "B - A", "p"),
        rows=tuple(map(row_of, comparison.figures)),
        sentences=tuple(below(comparison)),
    )
    gates = [(gate.name, gate.a, gate.b) for gate in comparison.flipped]
    yield Part(
        title="Gates that say otherwise",
        header=("gate", "A", "B"),
        rows=tuple(gates),
        sentences=() if gates else ("Every gate says the same of both.",),
    )
    a, b = comparison.outcomes
    yield Part(title="What became of the models", header=("A", "B"), rows=((a, b),))


def row_of(figure: Compared) -> tuple[str, ...]:
    """One figure of both runs."""
    difference = "-" if figure.difference is None else f"{figure.difference:+.2%}"
    return figure.name, shown(figure.a), shown(figure.b), difference, p_of(figure)


def shown(share: Share | None) -> str:
    """A share with its interval."""
    if share is None:
        return "-"
    low, high = share.interval
    return f"{share.value:.2%} ({low:.2%} to {high:.2%})"


def p_of(figure: Compared) -> str:
    """The p-value with the images behind it, marked where it is small."""
    if (paired := figure.paired) is None:
        return "-"
    mark = " *" if paired.p_value < SIGNIFICANT else ""
    return f"{paired.p_value:.2g}{mark} ({paired.a_alone:,} : {paired.b_alone:,})"


def below(comparison: Comparison) -> Iterator[str]:
    """What the numbers are about, and what they do not say."""
    ours, theirs, both = comparison.images
    shared = "" if both is None else f", {both:,} of them in both"
    yield f"A has {ours:,} test images, B {theirs:,}{shared}."
    if comparison.not_comparable:
        yield f"The numbers are not comparable: {'; '.join(comparison.not_comparable)}."
    elif any(figure.paired for figure in comparison.figures):
        yield (
            "p: were both models as good, the probability of at least so unequal numbers of images "
            "on which only A : only B is right (exact paired test, two-sided; * below 0.05)."
        )
    named: dict[str, list[str]] = {}
    for figure in comparison.figures:
        if figure.why_not and not comparison.not_comparable:
            named.setdefault(figure.why_not, []).append(figure.name)
    for reason, names in named.items():
        which = "" if len(names) == len(comparison.figures) else f" for {', '.join(names)}"
        yield f"No p{which}: {reason}."


def text_of(value: Any) -> str:
    """The value of a setting."""
    return value if isinstance(value, str) else dumps(value, indent=None)


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print it as tables."""
    for part in parts_of(comparison):
        console.print(f"[bold]{escape(part.title)}[/]", highlight=False, soft_wrap=True)
        if part.rows:
            table = Table()
            for name in part.header:
                table.add_column(name, overflow="fold")
            for row in part.rows:
                table.add_row(*map(escape, row))
            console.print(table)
        for sentence in part.sentences:
            console.print(escape(sentence), highlight=False, soft_wrap=True)


def markdown(comparison: Comparison) -> str:
    """The same for a comment on GitHub."""
    return "\n".join(line for part in parts_of(comparison) for line in _lines(part))


def _lines(part: Part) -> Iterable[str]:
    yield f"### {part.title}"
    yield ""
    if part.rows:
        yield _line(part.header)
        yield _line("---" for _ in part.header)
        yield from map(_line, part.rows)
        yield ""
    for sentence in part.sentences:
        yield _escaped(sentence)
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: str) -> str:
    """Text as it stands: no name may end a cell or begin a tag."""
    for sign in ("\\", "|", "<", "*", "_", "`"):
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
