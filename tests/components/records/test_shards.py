"""Shards of tf.Examples: whole or not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from components.records.shards import list_shards, write_shard
from foundation.errors import RunError


def test_a_shard_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Any:
        yield b"one"
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_shard(str(tmp_path / "data_tfrecord-00000-of-00001"), broken())
    assert os.listdir(tmp_path) == []
    with pytest.raises(RunError, match="expected shards named data_tfrecord-"):
        list_shards(str(tmp_path))


def test_a_shard_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/shard: "):
        write_shard(str(tmp_path / "file" / "shard"), [b"one"])
