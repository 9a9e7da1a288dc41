"""`gauntlet prepare` and the configuration of a run, with folders as people name them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pictures import write_folder, write_image

from foundation.errors import ConfigError
from gauntlet.cli import main
from gauntlet.configuration import configured


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", *map(str, arguments)])


def test_what_is_taken_is_shown_and_how_a_run_gets_it(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets")
    write_image(root / "train" / "cat" / "wide.jpg", 1, shape=(9, 30, 3))
    write_image(root / "train" / "cat" / "old" / "1.png", 1)
    done = prepare("--dataset", root, "--data-dir", tmp_path / "data", "--resize", "8,4",
                   "--json", tmp_path / "out.json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    for line in (
        f"{root}: RGB images of 8 x 4 (height x width), 2 classes; 10 PNG, 1 JPEG",
        "  resized to 8 x 4: 10 of 6 x 5, 1 of 9 x 30",
        "  train: 7 images: 4 cat, 3 dog",
        "  note: files not used, in a sub-folder of a class: 1 (train/cat/old/1.png)",
        "  --data-uri URI_OF_THE_COPY \\\n",
        "  --set data.resize=8,4",
    ):
        assert line in done.stdout
    written = json.loads((tmp_path / "out.json").read_text())
    settings = written["settings"]
    assert (settings["data.image_shape"], settings["data.resize"]) == ("8,4,3", "8,4")
    data = configured("smoke", [f"{n}={v}" for n, v in settings.items()] + ["trainer.filters=4"])
    assert data.data.resize == (8, 4)
    assert data.from_json(data.to_json()) == data


def test_wrong_usage_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, whatever process finds it."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "binary", ("3", "7"))
    for arguments, message in (
        (["--dataset", "./nowhere"], "there is no such folder"),
        (["--dataset", "binary"], "there is a folder of that name: write ./binary"),
        (["--dataset", "mnsit"], "Did you mean mnist"),
        (["--dataset", "mnist", "--resize", "9"], "expected height and width, such as 32,32"),
        (["--dataset", "./binary", "--data-dir", "binary/x"], "lies in the folder of the images"),
    ):
        done = prepare(*arguments)
        assert done.exit_code == 2, done.output
        assert message in done.stderr.replace("\n", " ")


def test_a_run_names_the_folder_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "binary")
    write_folder(tmp_path / "series" / "span-1")
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    for name in ("binary", "series"):
        with pytest.raises(ConfigError, match=f"there is a folder of that name: write ./{name} to"):
            configured("smoke", (f"data.dataset={name}",))
    assert configured("smoke", ("data.dataset=mnist",)).data.dataset == "mnist"


def test_settings_that_fit_the_images_only(tmp_path: Path) -> None:
    """The preset's own image shape is no measure."""
    root = write_folder(tmp_path / "pets")
    deep = ("trainer.filters=4,4,4,4,4,4", f"data.dataset={root}", "data.resize=224,224")
    assert configured("smoke", deep).data.image_shape == (224, 224, 3)
    with pytest.raises(ConfigError, match=r"data.resize=9,9 is for a folder of images; mnist"):
        configured("smoke", ("data.resize=9,9",))
    for wrong in ("9", "9,0", "a,b", "1,2,3"):
        with pytest.raises(ConfigError, match=r"data\.resize"):
            configured("smoke", (f"data.dataset={root}", f"data.resize={wrong}"))
