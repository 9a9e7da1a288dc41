"""Damaged files of each format end with an error that names them, or load and answer: no traceback,
no hang, no memory filled."""

import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fuzzed
import numpy as np
import pytest
from fuzzed import MUTATIONS, Outcome, mutated_entry, mutated_json, read
from model_files import write_model
from small_classifier import trained_model

from foundation.errors import ProcessDied
from foundation.process import Child

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "8"))
"""Damaged files of each kind."""

PLAIN = ("keras2.keras", "keras2.h5", "keras3.keras", "model.onnx")

IN_FOLDERS = {
    "keras2_folder": ("saved_model.pb", "keras_metadata.pb", "variables/variables.index"),
    "keras3_export": ("saved_model.pb", "variables/variables.index"),
}

IN_ARCHIVES = ("config.json", "metadata.json", "model.weights.h5")


def damaged(folder: Path, seed: int) -> list[Path]:
    """Damaged models of all kinds."""
    rng = random.Random(seed)
    weights: list[np.ndarray] = list(trained_model().get_weights())
    whole = {name: write_model(name, weights, folder) for name in (*PLAIN, *IN_FOLDERS)}
    paths = []

    def copied(name: str) -> Path:
        path = folder / f"{len(paths)}" / name
        path.parent.mkdir()
        copy = shutil.copytree if whole[name].is_dir() else shutil.copy
        copy(whole[name], path)
        paths.append(path)
        return path

    def change(path: Path, number: int) -> None:
        mutate = MUTATIONS[number % len(MUTATIONS)]
        path.write_bytes(mutate(path.read_bytes(), rng))

    for number in range(ROUNDS):
        for name in PLAIN:
            change(copied(name), number)
        for name, files in IN_FOLDERS.items():
            for file in files:
                change(copied(name) / file, number)
        for name in ("keras2.keras", "keras3.keras"):
            mutate = MUTATIONS[number % len(MUTATIONS)]
            entry = IN_ARCHIVES[number % len(IN_ARCHIVES)]
            mutated_entry(copied(name), entry, partial(mutate, rng=rng))
            mutated_entry(copied(name), "config.json", partial(odd_value, rng))
    return paths


def odd_value(rng: random.Random, content: bytes) -> bytes:
    return json.dumps(mutated_json(json.loads(content), rng)).encode()


def all_outcomes(folder: Path, paths: list[Path]) -> list[Outcome]:
    """What a process says of each; where one dies of a file, the next goes on behind it."""
    results, left = folder / "results", paths
    results.touch()
    while left:
        with (folder / "log").open("a") as log:
            try:
                Child("fuzzed:outcomes", (results, left), name="the loader", output=log).result()
            except ProcessDied as error:
                with results.open("a") as lines:
                    lines.write(json.dumps(f"died {error}") + "\n")
        left = paths[len(list(read(results))) :]
    return list(read(results))


def test_damaged_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    support = Path(fuzzed.__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{support}:{os.environ.get('PYTHONPATH', '')}")
    found = all_outcomes(tmp_path, damaged(tmp_path, seed=18))
    record_property("outcomes", dict(Counter(each.said.partition(" ")[0] for each in found)))
    for outcome in found:
        what, _, message = outcome.said.partition(" ")
        assert what in {"refused", "loaded", "died"}, f"{outcome.path}: {outcome.said}"
        if what == "refused":
            assert str(outcome.path) in message
        if what == "died":  # a defect of TensorFlow's, which its parent survives and names
            assert "the loader ended with code" in message
            assert "code -14" not in message, f"{outcome.path} took more than {fuzzed.SECONDS} s"
    assert len(found) == ROUNDS * (len(PLAIN) + sum(map(len, IN_FOLDERS.values())) + 4)
