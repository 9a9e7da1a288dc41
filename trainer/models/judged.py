"""What was judged: the one place that knows it, and says it in words.

An evaluation begins with it and every report holds it. Read without TensorFlow.
"""

from dataclasses import dataclass

from trainer.classes import shown


@dataclass(frozen=True, kw_only=True)
class JudgedInput:
    """What a model takes. name: '' where it has none. shape: as it says, the batch first; None is
    open. channels: `last`, `first`, or `none` without that axis. pixels: black and white."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    channels: str
    pixels: str


@dataclass(frozen=True, kw_only=True)
class JudgedOutput:
    """What is taken for its logits. name: '' where it has none. dtype: type that it is given in.
    taken_off: what was squashing it, the last one first. single: one output, for two classes."""

    name: str
    dtype: str
    taken_off: tuple[str, ...]
    single: bool


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A model as it was asked.

    file: file or folder. format: such as `Keras 3 .keras file`. signature: '' where the format has
    none. classes: how many. class_names: in the order of the outputs; empty where nobody names
    them. named_by: who does: `the model`, `--classes`, or `the data`, whose order is taken for that
    of the outputs.
    said: what was done to fit it to the images. doubts: what may be wrong.
    """

    file: str
    format: str
    signature: str
    input: JudgedInput
    output: JudgedOutput
    classes: int
    class_names: tuple[str, ...] = ()
    named_by: str = ""
    said: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """What a person reads of it: a word and a sentence each."""
        where = f"{self.format}, signature {self.signature}" if self.signature else self.format
        lines = [("model", f"{self.file} ({where})"), ("input", self._input())]
        return [*lines, ("output", self._output()), ("classes", self._classes())]

    def _input(self) -> str:
        given = self.input
        shape = "of any shape" if given.shape is None else _shown(given.shape)
        name = f"{given.name}: " if given.name else ""
        order = ", channels first" if given.channels == "first" else ""
        return f"{name}{given.dtype} {shape}, pixels {given.pixels}{order}"

    def _output(self) -> str:
        output = self.output
        name = f"{output.name}: " if output.name else ""
        off = " and ".join(output.taken_off)
        kind = f"logits; the {off} at its end was taken off" if off else "logits, as they are"
        return f"{name}{output.dtype} {kind}{'; one output, for two classes' * output.single}"

    def _classes(self) -> str:
        if not self.class_names:
            return str(self.classes)
        names = [shown(place, self.class_names) for place in range(len(self.class_names))]
        more = ["..."] if len(names) > SHOWN else []
        unnamed = self.classes - len(names)
        if unnamed > 0:
            more = [*more, f"and {unnamed} without a name"]
        order = "in the order of the data's labels" if self.named_by == DATA else self.named_by
        return f"{self.classes}: {', '.join(names[:SHOWN] + more)} ({order})"


DATA = "the data"
"""Who names classes where neither the model nor the user does."""

SHOWN = 10
"""Names of classes in a line."""


def _shown(shape: tuple[int | None, ...]) -> str:
    extents = ["open" if extent is None else str(extent) for extent in shape[1:]]
    return f"[{', '.join(['n', *extents])}]"
