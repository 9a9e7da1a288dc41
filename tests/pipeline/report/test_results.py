"""Images for the picture."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from small_rows import SHAPE, small_rows

from components.records.names import CLEAN, FGSM, ROBUST, Origin
from components.records.shards import shard_path, write_shard
from pipeline.report import results
from pipeline.report.results import some_rows

ORIGIN = Origin(FGSM, ROBUST)


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_some_rows_are_always_the_same_ones_and_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """In whatever shards and batches they come."""
    monkeypatch.setattr(results, "batch_of", lambda shape: batch)
    ids = [b"image-%02d" % i for i in range(20)]
    greys = {identity: i / 20 for i, identity in enumerate(ids)}
    for shard in range(3):
        mine = [(i, attack, greys[i]) for i in ids[shard::3] for attack in (CLEAN, str(ORIGIN))]
        path = shard_path(str(tmp_path), shard, 3, compressed=False)
        write_shard(path, small_rows(*mine).serialize())
    rows = some_rows(str(tmp_path), ORIGIN, 7, SHAPE)
    assert rows.id.tolist() == sorted(ids, key=zlib.crc32)[:7]
    assert set(rows.attack) == {"fgsm@robust"}
    assert rows.image is not None
    np.testing.assert_allclose(rows.image[:, 0, 0, 0], [greys[identity] for identity in rows.id])
    assert len(some_rows(str(tmp_path), ORIGIN, 99, SHAPE)) == 20
