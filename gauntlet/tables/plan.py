"""What a run would do: nodes, disk, champion, push."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.local.plan import Met, Plan


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan of a run, of which nothing has been done."""
    console.print(node_table(plan))
    for line in lines(plan):
        console.print(escape(line), highlight=False, soft_wrap=True)


def node_table(plan: Plan) -> Table:
    """One row a node: whether it runs, how long that took last time, and why it does."""
    table = Table(title="Nothing is computed, pushed or written: this is what a run would do")
    table.add_column("node", overflow="fold")
    table.add_column("")
    table.add_column("took last", justify="right")
    table.add_column("why", overflow="fold")
    for name, node in plan.nodes.items():
        took = "unknown" if node.seconds is None else f"{node.seconds:,.1f} s"
        does = "[dim]cached" if node.cached else "[cyan]runs"
        took = f"[dim]{took}" if node.cached else took
        table.add_row(name, does, took, escape(node.why))
    return table


def lines(plan: Plan) -> list[str]:
    """What the run needs, and what becomes of its model."""
    above = f", with a number above {plan.above}" if plan.above else ""
    return [
        *(f"Note: {text}" for text in plan.notes),
        *([f"data      {plan.data}"] if plan.data else []),
        f"time      {time_of(plan)}",
        *([f"disk      {plan.disk}"] if plan.disk else []),
        f"champion  {met(plan.champion)}",
        "push      a model that passes, and is not the served one, becomes a new version in "
        f"{plan.push}{above}",
    ]


def time_of(plan: Plan) -> str:
    """How long the nodes that run took last time, and what the cache spares."""
    times: dict[bool, list[float | None]] = {True: [], False: []}
    for node in plan.nodes.values():
        times[node.cached].append(node.seconds)
    known = [seconds for seconds in times[False] if seconds is not None]
    unknown = len(times[False]) - len(known)
    parts = [f"{max(1, round(sum(known))):,} s last time"] if known else []
    parts += [f"{unknown} whose time is unknown"] if unknown else []
    spared = sum(seconds or 0 for seconds in times[True])
    cached = f"; the cache spares the others, {spared:,.0f} s last time" if spared >= 1 else ""
    took = f": {' and '.join(parts)}" if parts else ""
    return f"{len(times[False])} of {len(plan.nodes)} nodes run{took}{cached}"


def met(champion: Met) -> str:
    """The champion in a sentence."""
    if champion.version is None:
        return champion.not_compared
    figures = {
        "clean": champion.clean,
        "worst case": champion.worst_case,
        "certified": champion.certified,
    }
    shown = ", ".join(f"{name} {share:.2%}" for name, share in figures.items() if share is not None)
    why = f"; not compared: {champion.not_compared}" if champion.not_compared else ""
    return f"version {champion.version}{f' ({shown})' if shown else ''}{why}"
