"""Writes the schemas of all JSON files that commands write into `docs/schemas/`, and their fields
into `docs/json.md`, from the dataclasses and their docstrings:

    python scripts/json_schemas.py

A test says where they are out of date.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
from pydantic.json_schema import GenerateJsonSchema

from foundation.json import Document

DOCS = Path(__file__).parents[1] / "docs"
BEGIN = "<!-- What follows is written by scripts/json_schemas.py. -->"

MODULES = (
    "components.journal",
    "gauntlet.check.report",
    "gauntlet.documents",
    "gauntlet.evaluation.report",
    "gauntlet.history.against",
    "gauntlet.history.comparison",
    "gauntlet.history.runs",
    "pipeline.local.plan",
    "pipeline.report.run_summary",
)
"""Those that have a document."""

Schema = dict[str, Any]


class _AsWritten(GenerateJsonSchema):
    """A number that is not finite is written as null."""

    def float_schema(self, schema: Any) -> Schema:
        return {"type": ["number", "null"]}


def documents() -> dict[str, type[Document]]:
    """All documents by their schema."""
    for module in MODULES:
        importlib.import_module(module)
    return dict(sorted(Document.documents.items()))


def schema_of(document: type[Document]) -> Schema:
    """The JSON schema of a document."""
    schema = pydantic.TypeAdapter(document).json_schema(schema_generator=_AsWritten)
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            _describe(part)
    first = {"schema": {"const": document.schema, "description": "what this file is"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": first | schema["properties"],
        "required": ["schema", *schema.get("required", [])],
    }


def _describe(part: Schema) -> None:
    """Move what a docstring says of fields to these."""
    said, fields = described(part.get("description", ""), list(part["properties"]))
    part["description"] = said
    for name, field in part["properties"].items():
        field.pop("title", None)
        if name in fields:
            field["description"] = fields[name]


def described(docstring: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """What a docstring says before it comes to fields, and what it says of each: `name: text`, or
    `name, name: text`, wherever it stands."""
    name = f"(?:{'|'.join(map(re.escape, names))})"
    beginning = re.compile(rf"(?:(?<=\s)|^)({name}(?:, {name})*): ")
    docstring, *_ = re.split(r"^\s*Raises:$", docstring, flags=re.MULTILINE)
    text = re.sub(r"\bNone\b", "null", " ".join(docstring.split()))
    before, *pieces = beginning.split(text)
    fields: dict[str, str] = {}
    for named, meaning in zip(pieces[::2], pieces[1::2], strict=True):
        fields |= dict.fromkeys(named.split(", "), meaning.strip().rstrip(".;,"))
    return before.strip(), fields


def file_of(schema: str) -> str:
    """Name of the file with a schema: gauntlet/run/1 is in run-1.json."""
    return f"{schema.removeprefix('gauntlet/').replace('/', '-')}.json"


def page() -> str:
    """What is generated of docs/json.md."""
    return "\n".join(line for each in documents().values() for line in _section(each))


def _section(document: type[Document]) -> Iterator[str]:
    schema = schema_of(document)
    yield f"## {document.schema}"
    yield ""
    yield f"{schema['description']} [Schema](schemas/{file_of(document.schema)})."
    yield ""
    yield from _table(schema)
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            yield f"**{name}**: {part['description']}"
            yield ""
            yield from _table(part)
        elif "enum" in part:
            yield f"**{name}**: one of {', '.join(f'`{value}`' for value in part['enum'])}."
            yield ""


def _table(part: Schema) -> Iterator[str]:
    yield "| entry | type | meaning |"
    yield "|---|---|---|"
    for name, field in part["properties"].items():
        meaning = field.get("description", "").replace("|", "\\|")
        optional = "" if name in part.get("required", ()) else " (may be left out)"
        yield f"| `{name}` | {_type(field)}{optional} | {meaning} |"
    yield ""


def _type(field: Schema) -> str:
    """The type of a field in words."""
    if "$ref" in field:
        return str(field["$ref"].rpartition("/")[2])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        kinds = " or ".join(map(_type, field["anyOf"])).split(" or ")
        return " or ".join(dict.fromkeys(kinds))
    kind = field.get("type", "anything")
    if kind == "array":
        items = field.get("prefixItems")
        return f"[{', '.join(map(_type, items))}]" if items else f"list of {_type(field['items'])}"
    if kind == "object" and isinstance(values := field.get("additionalProperties"), dict):
        return f"object of {_type(values)}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def main() -> None:
    """Write all of it."""
    folder = DOCS / "schemas"
    folder.mkdir(exist_ok=True)
    for name, document in documents().items():
        text = json.dumps(schema_of(document), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / file_of(name)).write_text(text + "\n")
    file = DOCS / "json.md"
    by_hand, _, _ = file.read_text().partition(BEGIN)
    file.write_text(f"{by_hand}{BEGIN}\n\n{page()}")


if __name__ == "__main__":
    main()
