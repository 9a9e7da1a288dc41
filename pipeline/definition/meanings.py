"""What docstrings say of classes and of their fields: `a, b: text. c: text.`"""

import inspect
import re


def purpose(kind: type) -> str:
    """What a class is: the first paragraph of its docstring, up to the first field that is
    explained there."""
    first, *_ = _paragraphs(kind)
    return re.split(_pattern(kind), f" {first}")[0].strip()


def meanings(kind: type) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say of their fields, by name."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _own(base)
    return found


def described(kind: type) -> str:
    """What follows the first paragraph of a docstring."""
    _, *others = _paragraphs(kind)
    return " ".join(others)


def _own(kind: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for paragraph in _paragraphs(kind):
        _, *parts = re.split(_pattern(kind), f" {paragraph}")
        for names, meaning in zip(parts[::2], parts[1::2], strict=True):
            found |= dict.fromkeys(names.split(", "), meaning.strip())
    return found


def _paragraphs(kind: type) -> list[str]:
    """The paragraphs of a docstring, each on one line, without what it says of errors."""
    text, *_ = re.split(r"^Raises:$", inspect.getdoc(kind) or "", flags=re.MULTILINE)
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def _pattern(kind: type) -> str:
    """Names of fields in front of a meaning: where a paragraph begins, or behind a sentence."""
    names = sorted(inspect.get_annotations(kind), key=len, reverse=True)
    name = "|".join(map(re.escape, names)) or "(?!)"
    return rf"(?:(?<=\.)|^) ((?:{name})(?:, (?:{name}))*): "
