"""What the documents name is there: links, files, commands with their options, settings, gates."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from components.evaluator.asked import gates
from gauntlet.cli import main
from pipeline.definition.config import override
from pipeline.definition.presets import PRESETS, preset
from robustness.config import CheckName

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
PACKAGES = "components|foundation|gauntlet|kubeflow|pipeline|robustness|trainer"
PLACE = re.compile(rf"(?:{PACKAGES}|docs|examples|scripts|tests)/[\w./-]*")
SCHEMA = re.compile(r"gauntlet/([a-z]+)/(\d+)")
"""What a JSON file says of itself: see docs/json.md."""

MODULE = re.compile(rf"(?:{PACKAGES})(?:\.\w+){{2,}}")
OPTION = re.compile(r"(?<![\w-])--[\w-]+")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b")
"""A word for something that the reader fills in, such as NAME."""

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def prose(document: Path) -> str:
    return FENCE.sub("", document.read_text())


def commands(document: Path, program: str) -> Iterator[list[str]]:
    """Arguments of every call of a program in the document's fenced blocks."""
    for block in FENCE.findall(document.read_text()):
        for line in block.splitlines():
            if line.startswith(f"{program} "):
                yield shlex.split(line, comments=True)[1:]


def mentions(document: Path, program: str) -> Iterator[str]:
    """The same in its prose, as text: a mention may be a part of a call."""
    for span in CODE.findall(prose(document)):
        if span.startswith(f"{program} "):
            yield span.removeprefix(f"{program} ")


def anchors(document: Path) -> set[str]:
    """The headings as GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@documents
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(prose(document)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{document.name}: no heading for {link}"


@documents
def test_files_that_are_named_exist(document: Path) -> None:
    for span in CODE.findall(prose(document)):
        if PLACE.fullmatch(span):
            published = SCHEMA.sub(r"docs/schemas/\1-\2.json", span)
            pattern = PLACEHOLDER.sub("*", published).rstrip("/")
            assert any(ROOT.glob(pattern)), f"{document.name}: {span}"


@documents
def test_modules_that_are_named_exist(document: Path) -> None:
    """`package.module.name`: the module is a file, and the name stands in it."""
    for span in CODE.findall(prose(document)):
        if not MODULE.fullmatch(span):
            continue
        path, *names = module_of(span)
        text = (ROOT / path).read_text()
        for name in names:
            assert re.search(rf"\b{name}\b", text), f"{document.name}: {span}: no {name} in {path}"


def module_of(dotted: str) -> list[str]:
    """Path of the module, and the names within that follow."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        for path in ("/".join(parts[:end]) + ".py", "/".join([*parts[:end], "__init__.py"])):
            if (ROOT / path).is_file():
                return [path, *parts[end:]]
    raise AssertionError(f"there is no module {dotted}")


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that is called, perhaps one of a group, and its arguments."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        below = command.get_command(click.Context(command), name)
        assert below is not None, f"there is no command {command.name} {name}"
        command = below
    return command, words


def parsed(command: click.Command, arguments: list[str]) -> dict[str, Any]:
    """Options and arguments by name, as text: no value is looked for on the disk."""
    context = click.Context(command)
    given, rest, _ = command.make_parser(context).parse_args(arguments)
    assert not rest, f"unexpected arguments {rest}"
    found = {name: value for name, value in given.items() if isinstance(value, str | list | tuple)}
    for parameter in command.params:
        assert found.get(parameter.name) or not parameter.required, f"{parameter.name} is missing"
        if isinstance(parameter.type, click.Choice) and parameter.name in found:
            parameter.type.convert(found[parameter.name], parameter, context)
    return found


@documents
def test_commands_are_understood(document: Path) -> None:
    """Each is parsed as the command line would, and its settings are applied; none is run."""
    for words in commands(document, "gauntlet"):
        command, arguments = command_of(words)
        given = parsed(command, arguments)
        if "assignments" in {parameter.name for parameter in command.params}:
            override(preset(given.get("preset", "robust")), given.get("assignments", ()))


@documents
def test_options_that_are_mentioned_exist(document: Path) -> None:
    for mention in mentions(document, "gauntlet"):
        command, _ = command_of(mention.split())
        if command is main:
            continue
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option for parameter in command.params for option in parameter.secondary_opts}
        assert set(OPTION.findall(mention)) <= known, f"{document.name}: gauntlet {mention}"


@documents
def test_targets_and_scripts_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    blocks = [shlex.join(call) for call in commands(document, "make")]
    for call in (*blocks, *mentions(document, "make")):
        target = call.split()[0]
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{document.name}: make {target}"
    for call in mentions(document, "python"):
        script = call.split()[0]
        assert (ROOT / script).is_file(), f"{document.name}: python {script}"


def test_every_gate_is_explained() -> None:
    explained = set(CODE.findall((ROOT / "docs" / "gates.md").read_text()))
    asked = {gate.name for name in PRESETS for gate in gates(preset(name).gates)}
    assert {*asked, *CheckName} <= explained


def test_every_document_is_reached_from_the_readme() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {str(path.relative_to(ROOT)) for path in DOCUMENTS} - {"README.md"} <= linked


def test_contributing_names_what_ci_runs() -> None:
    ran = re.findall(r"^(make .*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text()
    sentence = text[text.index("CI runs ") : text.index("[.ci/run]")]
    assert [span for span in CODE.findall(sentence) if span.startswith("make ")] == ran


def test_the_quick_tests_leave_out_what_make_test_leaves_out() -> None:
    left_out = re.compile(r"not (\w+)")
    recipe = re.search(r"^test:.*\n(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    quick = re.search(r"^make test ARGS=.*", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert recipe
    assert quick
    assert {*left_out.findall(recipe[0])} < {*left_out.findall(quick[0])}
