"""Progress as log records."""

import logging

import pytest

from foundation.events import Progress


def test_progress_is_rate_limited_and_ends_at_the_total(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="gauntlet.events")
    progress = Progress("counting", 10_000)
    for done in range(10_001):
        progress.update(done)
    steps = [vars(record)["progress"] for record in caplog.records]
    assert steps[0] == (0, 10_000)
    assert steps[-1] == (10_000, 10_000)
    assert len(steps) < 10


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("dataset", "begin"),
    [
        ("mnist", ("440fcabf", "3552534a", "8d422c7b", "f7ae60f9")),
        ("fashion_mnist", ("3aede38d", "a04f1713", "346e55b9", "67da17c7")),
    ],
)
def test_real_mirrors_give_the_real_archives(
    folder: Path, dataset: str, begin: tuple[str, ...]
) -> None:
    from components.datasets import stock

    checksums = stock.checksums(stock.load_builder(dataset, None))
    mirror.MIRRORS[dataset].fetch(folder, checksums)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == {name: checksum.sha256 for name, checksum in checksums.items()}
    names = [
        f"{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    assert [found[name][:8] for name in names] == list(begin)
