"""How much disk a run needs, and that too little ends it before anything is trained."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.datasets import batches
from foundation.errors import RunError
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import preset
from pipeline.local import disk
from pipeline.local.disk import (
    CHAMPION_ROWS,
    ROW,
    ROWS,
    Need,
    check_disk,
    least,
    needed,
    parameters,
)
from trainer.network import build_network

NEED = Need(rows=100 * 2**20, data=0, weights=2**20)
COUNTS = {"train": 3000, "validation": 500, "test": 500}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("smoke")
    parts = {part: COUNTS[split] for split, part in config.data.splits.items()}
    monkeypatch.setattr(batches, "count_images", lambda prepared, part: parts[part])
    monkeypatch.setattr(batches, "image_bytes", lambda prepared: 400.0)


def of(config: RunConfig, champion: bool = False) -> Need:
    prepared: Any = SimpleNamespace()
    return needed(config, prepared, champion)


@pytest.mark.usefixtures("counted")
def test_rows_follow_from_images_pixels_and_champion() -> None:
    config = preset("smoke")
    image = 4 * 28 * 28 + ROW
    assert of(config).rows == 500 * ROWS * image
    assert of(config, champion=True).rows == 500 * (ROWS + CHAMPION_ROWS) * image
    alone = override(config, ["gates.champion=0"])
    assert of(alone, champion=True).rows == 500 * ROWS * image
    assert of(config).data == 4000 * 400
    larger = override(config, ["trainer.dense=2000"])
    assert of(larger).weights > of(config).weights + 4 * 2000 * 10


@pytest.mark.parametrize("name", ["smoke", "robust", "fashion", "record"])
def test_the_weights_are_those_of_the_network(name: str) -> None:
    config = preset(name)
    built = build_network(config.trainer, config.data.image_shape, config.data.classes)
    assert parameters(config) == built.count_params()


@pytest.mark.parametrize(
    ("same_disk", "free", "message"),
    [
        (True, {"root": 200, "tmp": 200}, r"needs up to 187 MB of disk in .*/root, 186 MB"),
        (
            False,
            {"root": 100, "tmp": 900},
            r"needs up to 121 MB of disk .*/root, 100 MB .* --root",
        ),
        (False, {"root": 900, "tmp": 60}, r"needs up to 66 MB of disk in .*/tmp, 60 MB .* TMPDIR"),
    ],
)
def test_too_little_disk_is_an_error_that_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    same_disk: bool,
    free: dict[str, int],
    message: str,
) -> None:
    planted(tmp_path, monkeypatch, free, same_disk)
    if same_disk:  # 121 MB and 66 MB
        check_disk(tmp_path / "root", NEED)
        free["root"] = 186
    with pytest.raises(RunError, match=message):
        check_disk(tmp_path / "root", NEED)


@pytest.mark.parametrize(
    ("free", "shown"), [(700, "700 MB"), (9000, "9,000 MB"), (58 * 1024, "58 GB")]
)
def test_what_is_needed_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, shown: str
) -> None:
    planted(tmp_path, monkeypatch, {"root": free, "tmp": free}, True)
    said = check_disk(tmp_path / "root", NEED)
    assert said == f"needs up to 187 MB of disk in {tmp_path / 'root'}, {shown} free"


def test_two_disks_are_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(tmp_path, monkeypatch, {"root": 700, "tmp": 600}, False)
    said = check_disk(tmp_path / "root", NEED)
    assert said.count("\n") == 0
    assert f"121 MB of disk in {tmp_path / 'root'}, 700 MB free; up to 66 MB of disk in " in said


def test_before_the_data_is_there_the_settings_tell_the_least() -> None:
    config = preset("smoke")
    assert least(config) == Need(rows=0, data=0, weights=4 * parameters(config))
    own = override(config, ["trainer.network=nowhere:build"])
    assert least(own).weights == 0, "it is not built for that"


def planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: dict[str, int], same_disk: bool
) -> None:
    """A root and a folder of temporary files with so many MB, on one disk or on two."""
    for name in free:
        (tmp_path / name).mkdir()
    monkeypatch.setattr(disk.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[Path(folder).name] * 2**20)
    )
    device = {"root": 1, "tmp": 1 if same_disk else 2}
    stat = Path.stat

    def of_device(self: Path, **named: Any) -> Any:
        found = stat(self, **named)
        return SimpleNamespace(st_dev=device[self.name]) if self.name in device else found

    monkeypatch.setattr(Path, "stat", of_device)
