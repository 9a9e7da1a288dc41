"""`gauntlet gates`: what a model must reach to be pushed, in one place."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.whole import write_text
from gauntlet.options import console_beside, json_option, settings_options
from gauntlet.parameters import EXISTING_ROOT, OUTPUT_FILE
from pipeline.root.root import Root

if TYPE_CHECKING:
    from rich.console import Console

    from components.policy import Terms


@click.command
@settings_options
@click.option(
    "--root",
    type=EXISTING_ROOT,
    help="Show the terms to which the pushes into this root are bound, and how the preset with its "
    "settings differs from them.",
)
@click.option(
    "--toml",
    "toml_file",
    type=OUTPUT_FILE,
    help="Also write the terms here, as a gates.toml for review; `gauntlet run --gates` takes it.",
)
@json_option("the gates")
def gates(
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    root: Root | None,
    toml_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show the gates: what a model must reach to be pushed.

    \b
      gauntlet gates --preset record
      gauntlet gates --set gates.worst_case=0.95 --json gates.json
      gauntlet gates --root runs
      gauntlet gates --set gates.best=0.01 --toml gates.toml
    """
    # Here and not above, so that --help stays quick; as in the other commands.
    from components.bound import bound_by, write_terms
    from components.evaluator.asked import gates as gates_of
    from components.policy import GatesConfig
    from gauntlet.configuration import configured
    from gauntlet.documents import Gates
    from gauntlet.tables.gates import gate_table
    from pipeline.definition.terms import terms_of

    settings = ", ".join(field.name for field in dataclasses.fields(GatesConfig))
    console = console_beside(json_file)
    config = configured(preset, assignments, config_file, console)
    terms, title = terms_of(config), f"Gates of preset {config.preset}"
    own = terms
    if root is not None and (bound := bound_by(str(root.serving))):
        terms, title = bound.terms, f"Gates by {bound.source}"
        print_bound(bound.doubt, console)
    asked = gates_of(terms.policy.gates)
    if json_file:
        write_text(json_file, Gates.of(asked).to_json())
    if toml_file:
        refuse_other(toml_file, terms.to_toml())
        write_terms(toml_file, terms)
    console.print(gate_table(title, terms.purpose, asked))
    if root is not None:
        print_differences(root, own, f"preset {config.preset}", console)
    console.print(
        "A share is judged on the far end of its exact 95 % interval: the lower end for >=, the "
        "upper for <=.\nOne gate that fails refuses the push; so does the serving check, and data "
        "that breaks the schema or has drifted ends the run before training.\n"
        f"--set gates.NAME=VALUE changes {settings}. `champion` is the level of both champion_* "
        "gates, `checks` the list of honesty checks; `served` is fixed.",
        highlight=False,
    )


def refuse_other(file: Path, text: str) -> None:
    """Raises ConfigError where a file is there that says something else: it may have been
    reviewed."""
    from foundation.errors import ConfigError
    from foundation.whole import is_stream

    if is_stream(file) or not file.exists():
        return
    if file.read_bytes() not in (b"", text.encode()):
        raise ConfigError(f"{file} is there and says otherwise; remove it, or name another file")


def print_bound(doubt: str, console: "Console") -> None:
    """Why gates.toml does not count, where it does not."""
    from rich.markup import escape

    if doubt:
        console.print(f"[yellow]Note:[/] {escape(doubt)}", highlight=False, soft_wrap=True)


def print_differences(root: Root, terms: "Terms", name: str, console: "Console") -> None:
    """What would become of a run with these terms in a root."""
    from rich.markup import escape

    from components.binding import agree
    from components.mandate import Mandate
    from foundation.errors import ConfigError

    try:
        notes = agree(str(root.serving), terms, Mandate()).notes
        lines = [f"A run with {name} may push here.", *notes]
    except ConfigError as error:
        lines = [f"A run with {name} stops here (exit code {error.exit_code}): {error}"]
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)
