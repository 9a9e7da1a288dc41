"""Files of settings: what is read of them, and what every mistake is answered with."""

import json
import os
from pathlib import Path

import pytest

from foundation.errors import ConfigError
from pipeline.definition.beginning import begin
from pipeline.definition.config import RunConfig, override
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.settings_file import SettingsFile, read_settings
from pipeline.definition.settings_text import settings_text
from robustness.config import CheckName, Norm

EVERYTHING = [
    "seed=4294967295",
    "data.dataset=/a b/\u732b's",
    'data.class_names=["cat, grey", "\\"dog\\"", "\u732b"]',
    "data.classes=3",
    "data.resize=30,31",
    "data.image_shape=30,31,3",
    "trainer.network=mine.nets:small",
    "trainer.learning_rate=1e-05",
    "recipe.name=sabr",
    "recipe.ramp=0.25",
    "recipe.warm_up=0.1",
    "threat.epsilon=0.03137254901960784",
    "attack.names=pgd,apgd-t",
    "gates.checks=",
    "gates.required=crown,square",
    "serving.platform=docker",
]


def written(path: Path, text: str) -> SettingsFile:
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def configuration(file: SettingsFile, wanted: str | None = None, *assignments: str) -> RunConfig:
    return begin(wanted, file).with_settings(assignments)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "gauntlet.toml"


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("settings", [[], EVERYTHING], ids=["as-it-is", "changed"])
def test_the_config_json_of_a_run_is_that_configuration(
    name: str, settings: list[str], tmp_path: Path
) -> None:
    config = override(preset(name), settings)
    file = written(tmp_path / "config.json", config.to_json())
    assert configuration(file) == config
    assert configuration(file).to_json() == config.to_json()
    assert configuration(file, name) == config


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("settings", [[], EVERYTHING], ids=["as-it-is", "changed"])
def test_a_written_file_gives_the_configuration_back(
    name: str, settings: list[str], toml: Path
) -> None:
    config = override(preset(name), settings)
    text = settings_text(config, name)
    assert configuration(written(toml, text)) == config
    for setting in config.unused:
        assert (
            f"\n{setting.rpartition('.')[2]} = "
            not in text.partition(f"[{setting.partition('.')[0]}]\n")[2].partition("\n[")[0]
        ), f"{setting} does nothing"


def test_a_written_file_of_a_users_own_preset_gives_it_back(toml: Path) -> None:
    text = '[presets.mine]\npreset = "smoke"\n[presets.mine.trainer]\nepochs = 7\n'
    config = configuration(written(toml, text), "mine")
    assert (config.preset, config.trainer.epochs) == ("mine", 7)
    again = configuration(written(toml, settings_text(config, "smoke")))
    assert again == config


def test_a_run_of_a_preset_that_nobody_knows_is_read(tmp_path: Path) -> None:
    config = RunConfig(preset="long gone")
    assert configuration(written(tmp_path / "config.json", config.to_json())) == config


def test_a_run_of_an_older_version_is_read(tmp_path: Path) -> None:
    """Its recipes had the settings of all of them, and a later setting has its default."""
    values = json.loads(preset("robust").to_json())
    values["recipe"] |= {"beta": 6.0, "box": 0.4}
    del values["gates"]["best"]
    assert configuration(written(tmp_path / "c.json", json.dumps(values))) == preset("robust")


def test_assignments_win_over_the_file_and_the_file_over_the_preset(toml: Path) -> None:
    text = 'preset = "smoke"\nseed = 3\n[trainer]\nepochs = 7\nbatch_size = 8\n[threat]\nnorm="l2"'
    config = configuration(written(toml, text), None, "trainer.epochs=9")
    assert (config.preset, config.seed) == ("smoke", 3)
    assert (config.trainer.epochs, config.trainer.batch_size) == (9, 8)
    assert config.threat.norm is Norm.L2
    assert config.data == preset("smoke").data
    assert configuration(written(toml, text), "tutorial").data == preset("tutorial").data


def test_a_file_may_be_empty_and_begin_with_a_mark_of_its_encoding(toml: Path) -> None:
    assert configuration(written(toml, "")) == preset("robust")
    toml.write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert configuration(read_settings(toml)).seed == 3


def test_another_recipe_takes_the_settings_of_the_one_in_the_file_away(toml: Path) -> None:
    text = '[recipe]\nname = "trades"\nbeta = 3.0\nramp = 0.5\n'
    assert configuration(written(toml, text)).recipe.beta == 3.0
    changed = configuration(written(toml, text), None, "recipe.name=pgd").recipe
    assert (changed.name, changed.ramp) == ("pgd", 0.5)


def test_presets_of_ones_own_begin_with_one_another(toml: Path) -> None:
    text = """
    preset = "long"
    [data]
    shards = 3
    [presets.short]
    preset = "smoke"
    seed = 5
    [presets.short.trainer]
    epochs = 1
    batch_size = 7
    [presets.long]
    preset = "short"
    [presets.long.trainer]
    epochs = 50
    [presets.long.gates]
    checks = ["proofs_hold"]
    """
    file = written(toml, text)
    config = configuration(file)
    assert (config.preset, config.seed, config.data.shards) == ("long", 5, 3)
    assert (config.trainer.epochs, config.trainer.batch_size) == (50, 7)
    assert config.gates.checks == (CheckName.PROOFS_HOLD,)
    assert config.data.train == preset("smoke").data.train
    assert configuration(file, "short").trainer.epochs == 1
    assert configuration(file, "fashion").trainer == preset("fashion").trainer
    with pytest.raises(ConfigError, match=r"unknown preset 'longer'; .* smoke, short, long$"):
        configuration(file, "longer")


def test_a_preset_and_the_file_beside_it_may_not_say_two_things(toml: Path) -> None:
    text = 'seed = 1\n[presets.mine]\npreset = "smoke"\nseed = 2\n'
    file = written(toml, text)
    assert configuration(file, "smoke").seed == 1
    with pytest.raises(ConfigError, match=r"\[presets.mine\] sets seed, and so does the file"):
        configuration(file, "mine")
    assert configuration(written(toml, text.replace("2", "1")), "mine").seed == 1


def test_what_does_nothing_in_a_file_is_known(toml: Path) -> None:
    text = "[trainer]\nfilters = [8, 8]\nepochs = 3\n"
    start = begin("smoke", written(toml, text))
    assert start.idle(start.with_settings(())) == {}
    own = start.with_settings(["trainer.network=mine:small"])
    assert start.idle(own) == {"trainer.filters": "trainer.network=mine:small"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = 3", "preset=3: expected the name of a preset"),
        ('preset = "tutorail"', "unknown preset 'tutorail'; the presets are robust, record"),
        ("[trainer]\nepoch = 2", "unknown setting 'trainer.epoch': did you mean trainer.epochs"),
        ("epochs = 2", "unknown setting 'epochs': did you mean trainer.epochs or tuner.epochs"),
        ("[train]\nepochs = 2", r"unknown table \[train\]; the tables are data, trainer, recipe"),
        ("trainer = 2", r"trainer is a table, \[trainer\], got 2"),
        ("presets = 2", r"presets is a table, \[presets\], got 2"),
        ("[trainer]\nepochs = true", "trainer.epochs=True: expected a whole number, at least 1"),
        ('[trainer]\nepochs = "2"', "trainer.epochs='2': expected a whole number, at least 1"),
        ("[trainer]\nfilters = 8", "trainer.filters=8: expected a list of whole numbers"),
        ("[trainer.epochs]\nmany = 8", "trainer.epochs={'many': 8}: expected a whole number"),
        ("[threat]\nepsilon = nan", "threat.epsilon=nan: expected a finite number >= 0"),
        ("[gates]\nclean = 98", r"gates.clean=98: expected a fraction in \[0, 1\]"),
        ("[data]\nspan = 2026-11-01", "data.span=datetime.date.*: expected a whole number"),
        ('[recipe]\nname = "magic"', "recipe.name='magic': expected one of undefended, tutorial"),
        ("[presets.smoke]", "presets.smoke has the name of one of Gauntlet's own"),
        ("[presets.'a b']", "presets.'a b': a name has letters, digits, - and _"),
        ("[presets]\nmine = 2", r"presets.mine is a table, \[presets.mine\], got 2"),
        ("[presets.mine]\nseed = 2", "presets.mine does not say what it begins with"),
        ("[presets.mine]\npreset = 3", "presets.mine.preset=3: expected the name of a preset"),
        ('[presets.mine]\npreset = "x"', "unknown preset 'x'; the presets are robust, .*, mine"),
        (
            '[presets.a]\npreset = "b"\n[presets.b]\npreset = "a"',
            "presets begin with one another: a -> b -> a",
        ),
        ('[presets.a]\npreset = "a"', "presets begin with one another: a -> a"),
        (
            '[presets.a]\npreset = "smoke"\n[presets.a.trainer]\nepochs = 0',
            r"\[presets.a\] trainer.epochs=0: expected a whole number, at least 1",
        ),
        ("seed = ", r"is no TOML: Invalid value \(at "),
        ("seed = 1\nseed = 2", "is no TOML: Cannot overwrite a value"),
    ],
    ids=lambda text: text.replace("\n", " ")[:40],
)
def test_mistakes_in_a_file_are_named_with_it(text: str, message: str, toml: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{toml}: {message}"):
        written(toml, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[recipe]\nbeta = 3.0", "recipe.beta is not used with recipe.name=mtl-ibp, only with tr"),
        (
            '[presets.mine]\npreset = "smoke"\n[presets.mine.recipe]\nbeta = 3.0',
            "recipe.beta is not used with recipe.name=tutorial",
        ),
    ],
    ids=["file", "preset"],
)
def test_a_setting_of_another_recipe_is_named_with_the_file(
    text: str, message: str, toml: Path
) -> None:
    file = written(toml, text)
    with pytest.raises(ConfigError, match=rf"^{toml}.*: {message}"):
        configuration(file, "mine" if "mine" in text else None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed = 1 # \xe9t\xe9", r"is no UTF-8 text \(invalid continuation byte at byte 11\)"),
        (b"a = " + b"[" * 9999, "is no TOML: "),
    ],
    ids=["latin-1", "deep"],
)
def test_what_is_no_text_is_named(content: bytes, message: str, toml: Path) -> None:
    toml.write_bytes(content)
    with pytest.raises(ConfigError, match=f"^{toml}: {message}"):
        read_settings(toml)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON: "),
        ("[]", "is no configuration: expected the config.json of a run"),
        ("[" * 99999, "is no JSON: "),
        ('{"seed": 1}', "is no configuration of a run, which has preset, data, trainer, recipe"),
    ],
    ids=["damaged", "list", "deep", "part"],
)
def test_a_json_that_no_run_wrote_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        written(tmp_path / "config.json", text)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("trainer", {"epochz": 3}, "unknown setting 'trainer.epochz': did you mean trainer.epochs"),
        ("trainer", {"epochs": "3"}, "trainer.epochs='3': expected a whole number"),
        ("recipe", {"name": "magic"}, "recipe.name='magic': expected one of"),
        ("recipe", {"nonsense": 1}, "unknown setting 'recipe.nonsense'"),
    ],
)
def test_an_edited_config_json_is_refused_where_it_is_wrong(
    section: str, values: dict[str, object], message: str, tmp_path: Path
) -> None:
    tables = json.loads(preset("smoke").to_json())
    tables[section] |= values
    with pytest.raises(ConfigError, match=message):
        written(tmp_path / "config.json", json.dumps(tables))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_settings(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_settings(tmp_path)


def test_what_never_ends_or_is_no_file_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (tmp_path / "pipe.toml", Path("/dev/zero")):
        with pytest.raises(ConfigError, match="expected a regular file"):
            read_settings(path)
    assert not read_settings(Path(os.devnull)).presets
    monkeypatch.setattr("pipeline.definition.settings_file.LARGEST", 4)
    (tmp_path / "large.toml").write_text("seed = 1")
    with pytest.raises(ConfigError, match="it has more than 4 bytes"):
        read_settings(tmp_path / "large.toml")


def test_a_whole_configuration_needs_no_preset(tmp_path: Path) -> None:
    file = written(tmp_path / "config.json", preset("smoke").to_json())
    with pytest.raises(ConfigError, match=r"preset smoke, of which --preset robust would change"):
        begin("robust", file)
    assert configuration(file, None, "trainer.epochs=9").trainer.epochs == 9
