"""What a description of layers, as Keras writes it, would have Keras call: classes and functions by
name, and code.

Keras imports the module that a description names and calls what has the name there. So names are
compared with what Keras's own layers, losses and the like need; whatever else there is, is code.
"""

import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.errors import DataError


def refuse_code(path: Path, config: Any) -> None:
    """Raises DataError where a configuration holds code that loading would run."""
    if where := next(code(config), None):
        raise DataError(
            f"{path} holds code, which loading it runs: {where}. If you know where "
            "the file comes from and want that, add --trust; otherwise save the model as a "
            "SavedModel folder or as ONNX, which hold the operations themselves"
        )


def refuse_endless(path: Path | str, config: Any) -> None:
    """Raises DataError where Keras 2 would wait for ever: it calls layer after layer as soon as
    what they take is there, until it has called all of them."""
    for part in _parts(config):
        layers = part.get("layers")
        if isinstance(layers, list) and (waiting := _waiting(layers)):
            raise DataError(
                f"{path} is damaged: {', '.join(waiting[:SHOWN])} in it takes what no layer gives"
            )


def _waiting(layers: list[Any]) -> list[str]:
    """The layers whose turn to be called never comes."""
    calls: dict[str, list[list[Reference]]] = {}
    inputs, nested = set(), set()
    for layer in layers:
        if not isinstance(layer, dict) or not isinstance(layer.get("inbound_nodes"), list):
            return []  # no such network, or one in which Keras finds what is wrong
        name, config = str(layer.get("name")), layer.get("config")
        calls.setdefault(name, []).extend(map(_references, layer["inbound_nodes"]))
        if layer.get("class_name") == "InputLayer":
            inputs.add(name)
        if isinstance(config, dict) and "layers" in config:
            nested.add(name)
    made = dict.fromkeys(calls, 0)

    def is_given(reference: Reference) -> bool:
        name, call = reference
        if name not in calls or name in inputs:
            return True
        # The calls of a network within may be counted from 1.
        last = made[name] if name in nested else made[name] - 1
        return isinstance(call, int) and 0 <= call <= last

    left = -1
    while left != (left := sum(made.values())):
        for name, all_taken in calls.items():
            while made[name] < len(all_taken) and all(map(is_given, all_taken[made[name]])):
                made[name] += 1
    return [name for name, all_taken in calls.items() if made[name] < len(all_taken)]


Reference = tuple[str, Any]
"""A layer, and which of its calls."""

SHOWN = 3
"""Layers that a message names."""


def _references(call: Any) -> list[Reference]:
    """Whose outputs a call of a layer takes: lists of a name, a call, an output, and perhaps
    further arguments."""
    found, left = [], [call]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list) and len(part) in (3, 4) and isinstance(part[0], str):
            found.append((part[0], part[1]))
            left += part[3:]
        elif isinstance(part, list):
            left += part
    return found


def code(config: Any) -> Iterator[str]:
    """What in a configuration is code, or names what is not Keras's own."""
    return filter(None, map(_problem, _parts(config)))


def foreign_modules(config: Any) -> Iterator[str]:
    """The modules outside of Keras that a configuration names."""
    for part in _parts(config):
        module = part.get("module")
        if isinstance(module, str) and module.partition(".")[0] not in OWN_MODULES:
            yield module


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """All descriptions in a configuration."""
    left = [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left += reversed(part.values())
        elif isinstance(part, list):
            left += reversed(part)


def _problem(part: dict[str, Any]) -> str:
    """What is wrong with a description; '' where nothing is."""
    kind, inner = part.get("class_name"), part.get("config")
    config = inner if isinstance(inner, dict) else {}
    names = _names(part)
    if names & {"Lambda", "__lambda__"}:
        name = config.get("name")
        return f"a Lambda layer {name!r}" if name else "a lambda"
    if odd := next((name for name in sorted(names) if not NAME.fullmatch(name)), ""):
        return f"the name {odd!r}"
    if names & RUN_FILES or (names & TABLES and isinstance(config.get("vocabulary"), str)):
        return f"{kind}, which opens a file that it names"
    if kind in CALLS_BY_NAME and not PURE.fullmatch(_called(part)):
        return f"a call of {_called(part)}"
    module = part.get("module")
    if isinstance(module, str) and not _may_name(part, module):
        what = f"the function {inner}" if kind == "function" else kind
        return f"{what} of the module {module}"
    return ""


def _names(part: dict[str, Any]) -> set[str]:
    """Every name under which Keras looks for what to call, without its package."""
    found = {str(part[key]) for key in NAMING if part.get(key)}
    if part.get("class_name") == "function" and isinstance(part.get("config"), str):
        found.add(part["config"])
    return {name.rpartition(">")[2] for name in found}


def _may_name(part: dict[str, Any], module: str) -> bool:
    """Whether a description may name what it names in a module."""
    kind = part.get("class_name")
    if kind == "__typespec__":
        return bool(SPECS.fullmatch(module)) and not part.get("registered_name")
    if kind == "function":
        name = str(part.get("config"))
        return bool(FUNCTIONS.fullmatch(module)) or (
            module == "builtins" and not hasattr(builtins, name)
        )
    return bool(CLASSES.fullmatch(module)) and str(kind)[:1].isupper()


def _called(config: dict[str, Any]) -> str:
    """What a layer calls by its name."""
    inner = config.get("config")
    return str((inner if isinstance(inner, dict) else config).get("function", ""))


NAMING = ("class_name", "registered_name", "spec_name")
"""The keys under which a description names what Keras shall call."""

NAME = re.compile(r"[\w ]*")
"""A name without a way from one object to what it holds."""

_COMPUTE = "activations|constraints|initializers|losses|metrics|ops|random|regularizers"

_HOLD = "dtype_policies|engine|layers|legacy|mixed_precision|models|optimizers|quantizers|trainers"

FUNCTIONS = re.compile(rf"(tf_)?keras\.(src\.)?({_COMPUTE})(\.\w+)*")
"""Modules whose functions may be named."""

CLASSES = re.compile(rf"((tf_)?keras(\.(src\.)?({_COMPUTE}|{_HOLD})(\.\w+)*)?)?")
"""Modules whose classes may be named."""

SPECS = re.compile(r"tensorflow\.python\.(framework|ops)\.\w+")
"""Modules with descriptions of tensors."""

RUN_FILES = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}
"""Layers that are programs of other libraries, or of a file beside."""

TABLES = {"IndexLookup", "IntegerLookup", "StringLookup", "TextVectorization"}
"""Layers whose vocabulary may be a file."""

CALLS_BY_NAME = {
    "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty",
}  # fmt: skip
"""Layers that Keras 2 makes of calls of TensorFlow; it calls whatever they name."""

PURE = re.compile(
    r"__operators__\.\w+|(math|nn|linalg|image|signal)\.[\w.]+|keras\.(activations|backend)\.\w+|"
    r"reshape|concat|cast|transpose|squeeze|expand_dims|stack|unstack|split|pad|tile|gather|where|"
    r"identity|stop_gradient|clip_by_value|convert_to_tensor|constant|abs|add|multiply|subtract|"
    r"divide|matmul|maximum|minimum|pow|sqrt|square|exp|tanh|sigmoid|sign|round|ones_like|zeros_like|"
    r"shape|broadcast_to|reverse|roll|slice|strided_slice|reduce_\w+|einsum|tensordot|normalize"
)
"""Functions that compute, and touch nothing."""

OWN_MODULES = {"keras", "tf_keras", "builtins", "tensorflow", ""}
"""Whose classes and functions a file may name."""
