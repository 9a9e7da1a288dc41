"""The counts of labels are written whole or not at all."""

from pathlib import Path

import pytest

from components.records.labels import read_labels, write_labels
from foundation import whole


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labels([("test", {0: 1}), ("test", {0: 2, 1: 5})], str(tmp_path))

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(whole, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_labels([("test", {0: 100})], str(tmp_path))
    assert read_labels(str(tmp_path)) == {"test": {0: 3, 1: 5}}
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]
