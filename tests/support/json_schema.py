"""As much of JSON Schema as ours use, read from the published files and not from our classes."""

from collections.abc import Iterator
from typing import Any

KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int,
    "number": (int, float), "null": type(None),
}  # fmt: skip

KNOWN = {
    "$schema", "$defs", "$ref", "additionalProperties", "anyOf", "const", "default", "description",
    "enum", "format", "items", "maxItems", "minItems", "prefixItems", "properties", "required",
    "title", "type",
}  # fmt: skip


def problems(
    value: Any, schema: dict[str, Any], whole: dict[str, Any], at: str = "$"
) -> Iterator[str]:
    """What of a value is not as its schema says, and what the schema does not know."""
    assert schema.keys() <= KNOWN, schema.keys() - KNOWN
    if "$ref" in schema:
        yield from problems(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole, at)
    if "anyOf" in schema and all([*problems(value, each, whole, at)] for each in schema["anyOf"]):
        yield f"{at}: {value!r} is none of {schema['anyOf']}"
    if value not in schema.get("enum", [schema.get("const", value)]):
        yield f"{at}: {value!r} is not one of the values"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{at}: {value!r} is no {kinds}"
    elif isinstance(value, dict):
        yield from _of_object(value, schema, whole, at)
    elif isinstance(value, list):
        first = schema.get("prefixItems", [])
        kinds_of_items = [*first, *[schema.get("items", {})] * (len(value) - len(first))]
        for place, (item, each) in enumerate(zip(value, kinds_of_items, strict=True)):
            yield from problems(item, each, whole, f"{at}[{place}]")


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _of_object(
    value: dict[str, Any], schema: dict[str, Any], whole: dict[str, Any], at: str
) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{at}: {name} is missing" for name in {*schema.get("required", [])} - value.keys())
    for name, entry in value.items():
        if name in known or isinstance(others, dict):
            yield from problems(entry, known.get(name, others), whole, f"{at}.{name}")
        elif known:
            yield f"{at}: nobody has said of {name}"
