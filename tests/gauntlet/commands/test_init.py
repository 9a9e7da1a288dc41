"""`gauntlet init`: what it writes for a folder can be used as it is, and nothing is overwritten."""

import dataclasses
import io
import os
import shlex
import shutil
import sys
import tokenize
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pictures import write_folder, write_image

from components.policy import GatesConfig
from gauntlet.cli import main
from gauntlet.configuration import configured
from pipeline.definition.gates import out_of_reach
from pipeline.definition.settings_file import read_settings

FILES = ("gauntlet.toml", "network.py", ".github/workflows/gauntlet.yml")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["init", *arguments])


def folder(name: str, *, mode: str = "RGB", sizes: tuple[tuple[int, int], ...] = ((32, 32),)) -> Path:  # fmt: skip # noqa: E501
    """Three classes, one size after the other."""
    root = Path(name)
    for split, count in (("train", 4), ("test", 2)):
        for label in ("cat", "dog", "\u732b, grey"):
            for i in range(count):
                shape = (*sizes[i % len(sizes)], 3)
                write_image(root / split / label / f"{i}.png", f"{split}{label}{i}", mode, shape)
    return root


def test_a_link_to_the_output_leads_to_the_same_images(tmp_path: Path) -> None:
    folder("pets")
    Path("in/real/deep").mkdir(parents=True)
    Path("project").symlink_to(Path("in/real/deep"))
    assert init("--data", "./pets", "--output", "project").exit_code == 0
    named = tomllib.loads(Path("project/gauntlet.toml").read_text())["data"]["dataset"]
    assert (Path("in/real/deep") / named).resolve() == tmp_path / "pets"


@pytest.mark.parametrize(
    ("mode", "sizes", "shape"),
    [
        ("RGB", ((32, 32),), (32, 32, 3)),
        ("L", ((28, 28),), (28, 28, 1)),
        ("RGB", ((30, 20), (30, 20), (64, 64)), (30, 20, 3)),
        ("RGB", ((300, 200),), (224, 149, 3)),
        ("L", ((5, 6),), (5, 6, 1)),
    ],
    ids=["colour", "grey", "mixed", "large", "tiny"],
)
def test_what_is_written_is_a_configuration_of_the_folder(
    mode: str, sizes: tuple[tuple[int, int], ...], shape: tuple[int, int, int]
) -> None:
    folder("pets", mode=mode, sizes=sizes)
    result = init("--data", "./pets")
    assert result.exit_code == 0, result.output
    config = configured(None, (), Path("gauntlet.toml").absolute())
    assert config.data.image_shape == shape
    assert config.data.class_names == ("cat", "dog", "\u732b, grey")
    assert not out_of_reach(config)
    assert not [name for name in read_settings(Path("gauntlet.toml")).values if name in config.unused]  # fmt: skip # noqa: E501
    assert config.threat.epsilon == 8 / 255
    gates = config.gates
    assert (gates.clean, gates.worst_case, gates.transfer_fgsm) == (0, 0, 0)
    assert gates.champion == GatesConfig().champion, "a worse model replaces no better one"
    assert gates.checks == ()
    assert config.attack.checks
    text = Path("gauntlet.toml").read_text()
    assert "# ./pets: " in text, "no path of this machine"
    height, width, channels = shape
    found = f"pets: {'grey' if channels == 1 else 'RGB'} images of {height} x {width} (height x wid"
    assert found in result.output
    assert "  train: 12 images: 4 cat, 4 dog, 4 \u732b, grey\n" in result.output


def test_the_bounds_in_the_comments_can_be_taken() -> None:
    folder("pets")
    init("--data", "./pets")
    lines = Path("gauntlet.toml").read_text().partition("[gates]\n")[2]
    comments = [line.removeprefix("# ") for line in lines.splitlines() if line.startswith("# ")]
    begin = next(i for i, line in enumerate(comments) if line.startswith("clean = "))
    end = next(i for i, line in enumerate(comments) if line.endswith('"]'))
    assert "are examples, which nobody has measured" in " ".join(comments[:begin])
    raised = tomllib.loads("\n".join(comments[begin : end + 1]))
    assert set(raised) == {"clean", "worst_case", "worst_class", "checks"}
    Path("g.toml").write_text("[gates]\n" + "\n".join(comments[begin : end + 1]))
    assert read_settings(Path("g.toml").absolute()).values["gates.clean"] == 0.9


def test_the_preset_in_the_comments_works_as_it_is() -> None:
    folder("pets")
    init("--data", "./pets")
    file = Path("gauntlet.toml")
    text, begin, preset = file.read_text().partition("# [presets.quick]\n")
    lines = (begin + preset).splitlines()
    assert all(line.startswith("# ") for line in lines), "it comes last"
    file.write_text("\n".join([text, *(line.removeprefix("# ") for line in lines)]))
    whole, quick = (configured(name, (), file.absolute()) for name in (None, "quick"))
    assert quick.preset == "quick"
    assert quick == dataclasses.replace(
        whole, preset="quick", data=dataclasses.replace(whole.data, train="train[:10]")
    )


def test_the_example_of_a_network_works_by_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    folder("pets")
    init("--data", "./pets")
    file = Path("gauntlet.toml")
    commented = '# network = "network:small"\n'
    assert file.read_text().count(commented) == 1
    file.write_text(file.read_text().replace(commented, commented.removeprefix("# ")))
    config = configured(None, (), file.absolute())
    assert config.trainer.network == "network:small"
    assert "trainer.filters" in capsys.readouterr().err, "and what does nothing then is said"
    from trainer.network import build_network

    network = build_network(config.trainer, config.data.image_shape, config.data.classes)
    del sys.modules["network"]
    assert network.output_shape == (None, 3)


def test_the_workflow_is_one() -> None:
    folder("my pets")
    result = init("--data", "my pets")
    workflow = yaml.safe_load(Path(FILES[2]).read_text())
    steps = workflow["jobs"]["gates"]["steps"]
    (check,) = [step["run"] for step in steps if "check" in step.get("run", "")]
    words = " ".join(check.replace("\\\n", " ").split())
    asked = "--min-clean 0.34 --output runs-my-pets/evaluations"
    assert words == (
        f'.gauntlet/.venv/bin/gauntlet check "$MODEL" {asked} --junit gates.xml --github'
    )
    assert workflow["env"]["MODEL"] == "runs-my-pets/serving"
    run, check = result.output.splitlines()[-2:]
    assert run == "  gauntlet run --root runs-my-pets"
    assert check == f"  gauntlet check runs-my-pets/serving {asked}"


def test_the_command_that_is_said_asks_for_what_the_run_was_judged_by() -> None:
    """By the settings that lie there; no model is there yet."""
    folder("pets", sizes=((30, 20), (64, 64)))
    *_, said = init("--data", "./pets").output.splitlines()
    result = CliRunner().invoke(main, shlex.split(said)[1:])
    assert result.exit_code == 2
    for setting in ("dataset=./pets", "resize=30,20", "threat.epsilon=0.0313725490196078,"):
        assert setting in result.stderr
    assert f"{Path('runs-pets/serving').absolute()}" in result.stderr


@pytest.mark.parametrize("name", ['\u732b\'s "pets"', "a[b]*", "-pets", "#x = 1", "..x"])
def test_odd_names_of_folders(name: str) -> None:
    folder(name)
    result = init("--data", f"./{name}")
    assert result.exit_code == 0, result.output
    config = configured(None, (), Path("gauntlet.toml").absolute())
    assert config.data.dataset == str(Path(name).absolute())
    root = result.output.partition("--root ")[2].split()[0]
    assert yaml.safe_load(Path(FILES[2]).read_text())["env"]["MODEL"] == f"{root}/serving"
    assert not set(root) & set("[]*?\\'\"")


def test_files_in_another_folder_name_the_images_from_there(here: Path) -> None:
    folder("pets")
    result = init("--data", "pets", "--output", "a/project")
    assert result.exit_code == 0
    assert f"  cd {here / 'a/project'}\n" in result.output
    os.chdir("a/project")
    config = configured(None, (), Path("gauntlet.toml").absolute())
    assert Path(config.data.dataset).resolve() == here / "pets"
    assert 'dataset = "../../pets"' in Path("gauntlet.toml").read_text()
    assert not (here / "gauntlet.toml").exists()


def test_the_newest_complete_span_is_looked_at() -> None:
    folder("deliveries/span-1", sizes=((16, 16),))
    folder("deliveries/span-2", sizes=((20, 20),))
    Path("deliveries/span-3/train").mkdir(parents=True)
    result = init("--data", "./deliveries")
    assert result.exit_code == 0, result.output
    assert "span 3 is not complete" in result.output
    data = configured(None, (), Path("gauntlet.toml").absolute()).data
    assert (data.span, data.image_shape) == (2, (20, 20, 3))


def test_few_images_are_told_with_the_number_that_suffices() -> None:
    folder("pets")
    result = init("--data", "./pets")
    assert "note: few test images for clean: " in result.output
    assert "takes at least 36 images" in result.output
    assert "takes at least 36 images" in " ".join(Path("gauntlet.toml").read_text().split("\n# "))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "there is no such folder; expected one of SPLIT/CLASS/IMAGE"),
        (lambda: write_folder(Path("pets"), ("cat",)), "has one class only (cat); a classifier n"),
        (lambda: write_folder(Path("pets"), train=3), "has no images in test/CLASS/"),
        (lambda: Path("pets").write_text(""), "there is no such folder"),
        (lambda: Path("pets").mkdir(), "has no images in train/CLASS/"),
    ],
    ids=["missing", "one-class", "no-test", "a-file", "empty"],
)
def test_a_folder_that_cannot_be_used_leaves_nothing_behind(make: Any, message: str) -> None:
    make()
    result = init("--data", "./pets")
    assert result.exit_code in (2, 4)
    assert message in result.output
    assert not any(Path(name).exists() for name in FILES)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_written_over(name: str) -> None:
    folder("pets")
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("mine")
    result = init("--data", "./pets")
    assert result.exit_code == 2
    assert f"{name}: there already; nothing was written. --force writes over it" in result.output
    assert Path(name).read_text() == "mine"
    assert [each for each in FILES if Path(each).exists()] == [name]
    assert init("--data", "./pets", "--force").exit_code == 0
    assert Path(name).read_text() != "mine"


def test_a_link_to_nothing_is_not_written_through() -> None:
    folder("pets")
    Path("gauntlet.toml").symlink_to("elsewhere.toml")
    assert init("--data", "./pets").exit_code == 2
    assert not Path("elsewhere.toml").exists()


def test_the_network_is_python() -> None:
    folder("pets")
    init("--data", "./pets")
    source = Path("network.py").read_text()
    assert list(tokenize.generate_tokens(io.StringIO(source).readline))
    shutil.rmtree("pets")
