"""What pydantic wanted of a value, in our words."""

from typing import Any

EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "missing": "a value for it",
}
"""What pydantic wanted, by the type of its error."""


def expected(problem: Any) -> str:
    """What pydantic wanted, in our words where it has a type of error for it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("enum", "literal_error"):
        return f"expected {context['expected']}"
    if kind in ("too_long", "too_short"):
        return f"expected {context.get('max_length', context.get('min_length'))} values"
    return f"expected {EXPECTED[kind]}" if kind in EXPECTED else str(problem["msg"])
