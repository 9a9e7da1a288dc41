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
        table.add_row(name, does, took, escape(node.why))
    return table


def lines(plan: Plan) -> list[str]:
    """What the run needs, and what becomes of its model."""
    running = [node for node in plan.nodes.values() if not node.cached]
    known = [node.seconds for node in running if node.seconds is not None]
    unknown = len(running) - len(known)
    more = f" and {unknown} whose time is unknown" if unknown else ""
    took = f"{len(running)} of {len(plan.nodes)} nodes run: {sum(known):,.0f} s last time{more}"
    above = f", with a number above {plan.above}" if plan.above else ""
    return [
        *(f"Note: {text}" for text in plan.notes),
        *([f"data      {plan.data}"] if plan.data else []),
        f"time      {took}",
        *([f"disk      {plan.disk}"] if plan.disk else []),
        f"champion  {met(plan.champion)}",
        f"push      a model that passes becomes a new version in {plan.push}{above}",
    ]


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
