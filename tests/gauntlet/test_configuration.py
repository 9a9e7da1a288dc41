"""The configuration of --preset, --config and --set, with what lies in a folder of images."""

import shutil
from pathlib import Path

import pytest
from pictures import write_folder

from foundation.errors import ConfigError
from gauntlet.configuration import configured

FITS = ("trainer.filters=4", "trainer.kernel_size=3", "trainer.stride=1")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "my pets \u732b", ("cat, grey", "dog"), train=12, test=2)


def test_the_run_of_a_folder_is_given_back_by_its_config_json(pets: Path, tmp_path: Path) -> None:
    config = configured("smoke", (f"data.dataset={pets}", "data.resize=8,9", *FITS))
    assert config.data.class_names == ("cat, grey", "dog")
    file = tmp_path / "config.json"
    file.write_text(config.to_json())
    assert configured(None, (), file) == config
    write_folder(pets, ("cat, grey", "dog"), train=24)
    assert configured(None, (), file) == config, "the images of that run, not those of today"
    again = configured(None, (f"data.dataset={pets}",), file)
    assert again.data.train == "train[:44]", "the folder that is asked for is looked at anew"


def test_the_run_of_a_span_is_given_back_by_its_config_json(pets: Path, tmp_path: Path) -> None:
    spans = tmp_path / "deliveries"
    for span in ("span-1", "span-2"):
        shutil.copytree(pets, spans / span)
    config = configured("smoke", (f"data.dataset={spans}", "data.span=1", *FITS))
    assert config.data.span == 1
    file = tmp_path / "config.json"
    file.write_text(config.to_json())
    assert configured(None, (), file) == config


def test_a_file_says_more_than_a_folder(pets: Path, tmp_path: Path) -> None:
    """And its settings need to fit the images of the folder only."""
    file = tmp_path / "pets.toml"
    file.write_text(
        f"[data]\ndataset = '{pets}'\ntest = 'test[:3]'\n[trainer]\nfilters = [4, 4]\n"
        "kernel_size = [1]\nstride = [1]\n"
    )
    data = configured("smoke", (), file).data
    assert (data.image_shape, data.classes) == ((6, 5, 3), 2)
    assert (data.train, data.test) == ("train[:22]", "test[:3]")
    assert configured("smoke", ("data.test=test[:1]",), file).data.test == "test[:1]"


def test_what_does_nothing_in_the_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[trainer]\nnetwork = "mine:small"\nfilters = [4]\ndense = [4]\n')
    configured("smoke", (), file)
    assert capsys.readouterr().err == (
        f"Note: {file}: trainer.dense, trainer.filters: not used with trainer.network=mine:small\n"
    )
    with pytest.raises(ConfigError, match=r"trainer.dense is not used with"):
        configured("smoke", ("trainer.dense=5",), file)
