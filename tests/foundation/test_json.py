"""Valid JSON of whatever the project writes."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path

import numpy as np
import pytest

from foundation.json import Document, dumps

ROOT = Path(__file__).parents[2]
OURS = ("foundation", "robustness", "trainer", "components", "pipeline", "kubeflow", "gauntlet")


class Colour(StrEnum):
    RED = "red"


class Level(Enum):
    HIGH = 2


@dataclass(frozen=True)
class Inner:
    share: float
    colour: Colour


@dataclass(frozen=True)
class Outer:
    folder: Path
    inner: tuple[Inner, ...]
    by_colour: dict[Colour, float | None]


def test_dataclasses_enums_and_paths_become_what_json_has() -> None:
    value = Outer(Path("/a/b"), (Inner(0.5, Colour.RED),), {Colour.RED: None})
    assert json.loads(dumps(value)) == {
        "folder": "/a/b",
        "inner": [{"share": 0.5, "colour": "red"}],
        "by_colour": {"red": None},
    }
    assert dumps([Level.HIGH, True, "text"], indent=None) == '[2, true, "text"]'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), np.float64("nan")])
def test_a_number_that_is_not_finite_is_null(number: float) -> None:
    text = dumps({"a": [number, 1.5], "b": {"c": number}})
    refused = pytest.fail
    assert json.loads(text, parse_constant=refused) == {"a": [None, 1.5], "b": {"c": None}}


def test_what_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="ndarray"):
        dumps({"a": np.zeros(2)})


def test_the_text_is_what_the_standard_library_writes() -> None:
    value = {"a": [1, 2.5], "b": {"c": None}}
    assert dumps(value) == json.dumps(value, indent=2)


def json_calls(module: Path) -> Iterator[ast.Call]:
    """Where a module writes JSON with the standard library."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump"):
            yield node


@pytest.mark.parametrize("room", [*OURS, "scripts", "examples"])
def test_nothing_that_is_written_as_json_may_hold_what_is_no_number(room: str) -> None:
    """`dumps` makes it null; what is written past it is refused."""
    lax = [
        f"{module}:{call.lineno}"
        for module in (ROOT / room).rglob("*.py")
        for call in json_calls(module)
        if "allow_nan=False" not in map(ast.unparse, call.keywords)
    ]
    assert lax == []


def test_a_document_begins_with_what_it_is() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Told(Document, schema="told/2"):
        """A document of this test alone, which the schemas of ours are not to have."""

        inner: Inner

    try:
        text = Told(inner=Inner(share=0.5, colour=Colour.RED)).to_json()
        assert text.endswith("}\n")
        content = json.loads(text)
        assert next(iter(content.items())) == ("schema", "gauntlet/told/2")
        assert content["inner"] == {"share": 0.5, "colour": "red"}
    finally:
        assert Document.documents.pop("gauntlet/told/2") is Told
