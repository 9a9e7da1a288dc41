"""`gauntlet compare`: two runs beside each other."""

from pathlib import Path

import click

from foundation.errors import ConfigError
from gauntlet.options import console_beside, json_option, root_option
from pipeline.root.root import Root


@click.command
@click.argument("a")
@click.argument("b")
@root_option
@click.option("--md", is_flag=True, help="Print GitHub's Markdown in place of tables.")
@json_option("the comparison")
def compare(a: str, b: str, root: Root, md: bool, json_file: Path | None) -> None:
    """Compare the runs A and B: changed settings, numbers with significance, gates that flipped.

    A and B are names from `gauntlet runs`, beginnings of names, `latest`, or `previous`. The
    numbers of the two are held against each other image by image where both have the same test
    images, the same threat and the same attacks.

    \b
      gauntlet compare previous latest
      gauntlet compare 20261127-1432 20261128-0459 --md > comparison.md
    """
    from foundation.whole import write_text
    from gauntlet.history.comparison import compare as compare_runs
    from gauntlet.history.runs import chosen
    from gauntlet.tables.comparison import markdown, print_comparison

    one, other = chosen(root, a), chosen(root, b)
    if one == other:
        raise ConfigError(f"{a} and {b} are the same run, {one}; name two")
    console = console_beside(json_file)
    comparison = compare_runs(root, one, other)
    if json_file:
        write_text(json_file, comparison.to_json())
    if md:
        click.echo(markdown(comparison), err=console.stderr)
    else:
        print_comparison(comparison, console)
