"""The record of attacked images: its columns, how they are stored as tf.Examples, and their table
in memory.

Rows of the same image share `id`. `attack` is `clean`, or `ATTACK@MODEL` for the model against
which the image was made (`names.Origin`). `fgsm` rows exist for every image; `strongest` rows hold
what the whole suite made of it: the misclassified image where one was found, the clean image where
a bound proved that there is none, otherwise the last attack's. Nobody else knows a column by its
name in the file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import tensorflow as tf
from jaxtyping import Float32, Int64, Shaped

from components.records.names import ATTACK, CHAMPION, LABEL, Origin
from components.records.shards import read_shards
from robustness.config import ThreatModel

Column = Shaped[np.ndarray, "n ..."]
Texts = Shaped[np.ndarray, "n"]
"""Python strings (bytes where they are ids) in an array of objects."""

Integers = Int64[np.ndarray, "n"]
Floats = Float32[np.ndarray, "n"]
Images = Float32[np.ndarray, "n h w c"]

PLAIN = {
    "id": tf.string,
    ATTACK: tf.string,
    LABEL: tf.int64,
    "norm": tf.string,
    "epsilon": tf.float32,
    "seed": tf.int64,
    "passed_checks": tf.string,
    "failed_checks": tf.string,
}
"""Columns that every record has, and their types in the file."""

BY_MODEL = {
    "predictions": ("prediction_", tf.int64),
    "broken_by": ("broken_by_", tf.string),
    "certified_by": ("certified_by_", tf.string),
    "judged_by": ("judged_by_", tf.string),
}
"""Fields of `Rows` that have a column for each model: the prefix of its name in the file, and its
type."""

IMAGE = "image"

CHAMPION_ON = "champion_on"
"""Column of rows of attacks on the champion only."""

MOST, MEMORY = 500, 2**26
"""Images that are in memory at once, at most, and bytes that their pixels may have."""


def batch_of(image_shape: tuple[int, int, int]) -> int:
    """How many images are read, attacked and written at once; it changes speed and memory, not
    results."""
    size = 4 * int(np.prod(image_shape))
    return max(1, min(MOST, MEMORY // size))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows as columns: one array a column, of equal length.

    id: bytes, name of the image. label: true class. image: pixels in [0, 1]; None where they were
    not asked for.
    norm, epsilon: ball of the attack, epsilon in pixel units; '' and 0 on clean rows. seed: seed of
    the attacks.
    predictions: class that a model gives, by model; -1 of a champion that is not there.
    broken_by: attack that changed a model's prediction, `clean` where it was wrong without one, ''
    where none did. certified_by: bound that proves it right, or ''; `none` where no bound applies
    to the model. judged_by: bounds and attacks that the model faced, with commas. All three are by
    model, without the champion, and the same on all rows of an image.
    passed_checks, failed_checks: honesty checks of the candidate, with commas; the same on all
    rows. Those that could not tell have not passed, and stand among the failed.
    champion_on: on rows of attacks on the champion, what it predicts on all other rows of the
    image, as `ATTACK:CLASS` with commas; None on others.
    """

    id: Texts
    attack: Texts
    label: Integers
    image: Images | None = None
    norm: Texts
    epsilon: Floats
    seed: Integers
    predictions: Mapping[str, Integers]
    broken_by: Mapping[str, Texts]
    certified_by: Mapping[str, Texts]
    judged_by: Mapping[str, Texts]
    passed_checks: Texts
    failed_checks: Texts
    champion_on: Texts | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self._columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of rows are equally long, got {lengths}")

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, chosen: Any) -> Self:
        """Some rows, in that order. chosen: what NumPy takes as the index of one axis: a mask,
        places, or a slice."""
        return self._of({name: column[chosen] for name, column in self._columns().items()})

    def with_model(self, name: str, predictions: Integers) -> Self:
        """The rows with what one more model predicts."""
        return replace(self, predictions={**self.predictions, name: predictions})

    def attacked(
        self,
        origin: Origin,
        image: Images,
        threat: ThreatModel,
        predictions: Mapping[str, Integers],
    ) -> Self:
        """These clean rows as another image shows them: what an attack made of theirs, in the ball
        of `threat`, and what each model predicts for it."""
        return replace(
            self,
            attack=np.full(len(self), str(origin), object),
            image=image,
            norm=np.full(len(self), str(threat.norm), object),
            epsilon=np.full(len(self), threat.epsilon, np.float32),
            predictions=predictions,
        )

    @classmethod
    def concatenate(cls, parts: Sequence["Rows"]) -> Self:
        """The rows of all parts, which have the same columns; at least one part."""
        columns = [part._columns() for part in parts]
        joined = {name: [part[name] for part in columns] for name in columns[0]}
        return cls._of({name: np.concatenate(pieces) for name, pieces in joined.items()})

    @staticmethod
    def features(models: Sequence[str]) -> list[str]:
        """Names of all columns but the pixels, as they are in the file. models: whose columns."""
        return [*_dtypes(models)]

    @classmethod
    def spec(
        cls, models: Sequence[str], image_shape: tuple[int, int, int] | None = None
    ) -> dict[str, tf.io.FixedLenFeature]:
        """How TensorFlow parses a record. image_shape: height, width and channels; None leaves the
        pixels out."""
        spec = {name: tf.io.FixedLenFeature([], dtype) for name, dtype in _dtypes(models).items()}
        if CHAMPION in models:
            spec[CHAMPION_ON] = tf.io.FixedLenFeature([], tf.string, default_value="")
        if image_shape is not None:
            spec[IMAGE] = tf.io.FixedLenFeature(image_shape, tf.float32)
        return spec

    @classmethod
    def parse(
        cls,
        serialized: Any,
        models: Sequence[str],
        image_shape: tuple[int, int, int] | None = None,
    ) -> Self:
        """Rows of serialized tf.Examples.

        Args:
            serialized: string [n], as a tensor, an array or a list.
            models: whose columns to read; `models_of` a record has them all.
            image_shape: height, width and channels; None leaves the pixels out.

        Raises:
            tf.errors.InvalidArgumentError: a column is missing, or an image has another shape.
        """
        parsed = tf.io.parse_example(serialized, cls.spec(models, image_shape))
        columns = {name: column.numpy() for name, column in parsed.items()}
        if CHAMPION_ON in columns and not any(columns[CHAMPION_ON]):
            del columns[CHAMPION_ON]
        return cls._of({name: _decoded(name, column) for name, column in columns.items()})

    @classmethod
    def of_features(cls, columns: Mapping[str, Any]) -> Self:
        """Rows of columns under their names in the file, each of shape [n] or [n, 1], with texts
        as bytes. Other columns are left out."""
        flat = {name: np.asarray(column).reshape(-1) for name, column in columns.items()}
        return cls._of({name: _decoded(name, column) for name, column in flat.items()})

    def serialize(self) -> Iterator[bytes]:
        """Each row as a serialized tf.Example."""
        columns = {name: _encoded(column) for name, column in self._columns().items()}
        for row in range(len(self)):
            example = tf.train.Example()
            features = example.features.feature
            for name, (kind, values) in columns.items():
                getattr(features[name], kind).value.extend(values[row].tolist())
            yield example.SerializeToString()

    def _columns(self) -> dict[str, Any]:
        """All columns under their names in the file."""
        columns = {name: getattr(self, name) for name in PLAIN}
        for field, (prefix, _) in BY_MODEL.items():
            columns |= {prefix + model: column for model, column in getattr(self, field).items()}
        optional = {IMAGE: self.image, CHAMPION_ON: self.champion_on}
        return columns | {name: it for name, it in optional.items() if it is not None}

    @classmethod
    def _of(cls, columns: Mapping[str, Any]) -> Self:
        """Inverse of `_columns`."""
        fields = {name: columns[name] for name in PLAIN}
        for field, (prefix, _) in BY_MODEL.items():
            names = [name for name in columns if name.startswith(prefix)]
            fields[field] = {name.removeprefix(prefix): columns[name] for name in names}
        return cls(image=columns.get(IMAGE), champion_on=columns.get(CHAMPION_ON), **fields)


def read_rows(
    paths: Sequence[str], batch: int, image_shape: tuple[int, int, int] | None = None
) -> Iterator[Rows]:
    """The rows of shards in batches of at most that many, with the columns of all models that the
    first row has. image_shape: see `Rows.parse`."""
    records = read_shards(list(paths))
    for first in records.take(1).as_numpy_iterator():
        models = models_of(first)
        for serialized in records.batch(batch):
            yield Rows.parse(serialized, models, image_shape)


def models_of(record: bytes) -> list[str]:
    """Names of the models whose predictions a serialized row has, sorted."""
    names = tf.train.Example.FromString(record).features.feature
    prefix, _ = BY_MODEL["predictions"]
    return sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))


def _dtypes(models: Sequence[str]) -> dict[str, tf.DType]:
    """Columns and their types; the champion only predicts."""
    dtypes = dict(PLAIN)
    for field, (prefix, dtype) in BY_MODEL.items():
        having = [model for model in models if field == "predictions" or model != CHAMPION]
        dtypes |= {prefix + model: dtype for model in having}
    return dtypes


def _decoded(name: str, column: Column) -> Column:
    """A column with Python strings for bytes; equal ones are one object. Ids stay bytes."""
    if column.dtype.kind not in "OS" or name == "id":
        return column
    values = column.tolist()
    texts = {value: value.decode() for value in set(values)}
    return np.array([texts[value] for value in values], object)


def _encoded(column: Column) -> tuple[str, Column]:
    """The list of a tf.Feature that holds a column, and the values of each row: [n, values]."""
    if column.dtype.kind == "O":
        values = [value.encode() if isinstance(value, str) else value for value in column]
        return "bytes_list", np.array(values, object).reshape(-1, 1)
    kind = "float_list" if column.dtype.kind == "f" else "int64_list"
    return kind, column.reshape(len(column), int(np.prod(column.shape[1:])))
