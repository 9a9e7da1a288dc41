"""Terms: what is another purpose, what is a weaker policy, and the file that says so; without
TensorFlow."""

import dataclasses
import tomllib
from typing import Any

import pytest

from components.policy import Terms
from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override, settings
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.terms import terms_of, under


def terms(name: str = "robust", *settings: str) -> Terms:
    """The terms of a preset with settings."""
    return terms_of(override(preset(name), settings))


def test_a_preset_under_its_own_terms_is_neither_another_nor_weaker() -> None:
    for name in PRESETS:
        own = terms(name)
        assert own.purpose.differences(own.purpose) == []
        assert own.policy.weaker(own.policy) == []


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("threat.epsilon=0.19", "epsilon is 0.19, not 0.2"),
        ("threat.epsilon=0.01", "epsilon is 0.01, not 0.2"),
        ("threat.epsilon=0.3", "epsilon is 0.3, not 0.2"),
        ("threat.norm=l2", "the norm is l2, not linf"),
    ],
)
def test_another_threat_is_another_purpose(setting: str, sentence: str) -> None:
    settings = [setting, "recipe.name=trades"]
    found = terms("robust", *settings).purpose.differences(terms("robust").purpose)
    assert found == [sentence]


def test_another_data_set_is_another_purpose_and_its_classes_are_named() -> None:
    found = terms("fashion").purpose.differences(terms("robust").purpose)
    assert found[0] == "the data set is fashion_mnist, not mnist"
    assert "the classes are others: T-shirt/top" not in found[-1]
    assert "T-shirt/top, Trouser, Pullover, Dress, Coat and 5 more are new" in found[-1]


OWN = ["data.image_shape=28,28,3", "data.classes=2"]


def of_folder(folder: str, names: str = "cat,dog", span: int = 0) -> Terms:
    settings = [*OWN, f"data.dataset={folder}", f"data.class_names={names}", f"data.span={span}"]
    return terms("smoke", *settings)


def test_a_folder_is_known_by_its_name_wherever_it_lies() -> None:
    assert of_folder("/a/pets").purpose == of_folder("/b/c/pets").purpose
    assert of_folder("/a/pets").purpose.differences(of_folder("/a/plants").purpose)
    assert of_folder("/a/pets").purpose.differences(of_folder("/a/pets", "cat,cow").purpose) == [
        "the classes are others: cow is gone, dog is new"
    ]
    assert (
        of_folder("/a/pets/span-1", span=1).purpose == of_folder("/b/pets/span-7", span=7).purpose
    )


def test_classes_in_another_form_of_unicode_are_the_same() -> None:
    composed, decomposed = of_folder("/a", "caf\u00e9,b"), of_folder("/a", "cafe\u0301,b")
    assert composed.purpose.differences(decomposed.purpose) == []


LOWERED = [
    ("gates.clean=0.97", "gates.clean is 0.97, which asks for less than 0.98"),
    ("gates.worst_case=0", "gates.worst_case is 0, which asks for less than 0.93"),
    ("gates.certified=0.5", "gates.certified is 0.5, which asks for less than 0.92"),
    ("gates.worst_class=0.84", "gates.worst_class is 0.84, which asks for less than 0.85"),
    ("gates.gap=0.07", "gates.gap is 0.07, which allows more than 0.06"),
    ("gates.gap=1", "gates.gap is 1, which allows more than 0.06"),
    ("gates.required=square", "gates.required is without apgd-ce, apgd-t, fab-t"),
    ("gates.checks=", "gates.checks is without logits_are_finite, iterated_beats_one_step"),
    ("gates.champion=0", "gates.champion is 0, which asks for less than 0.025"),
    ("gates.champion=0.01", "gates.champion is 0.01, which asks for less than 0.025"),
    ("gates.best=0", "gates.best is 0, which compares nothing"),
    ("gates.best=0.02", "gates.best is 0.02, which allows more than 0.01"),
    ("gates.fgsm=0.1", "gates.fgsm is 0.1, which asks for less than 0.95"),
    ("gates.white_box=0.1", "gates.white_box is 0.1, which asks for less than 0.95"),
    ("gates.transfer_fgsm=0", "gates.transfer_fgsm is 0, which asks for less than 0.95"),
    ("gates.transfer=0", "gates.transfer is 0, which asks for less than 0.95"),
    ("attack.checks=false", "attack.checks is false: no honesty check runs"),
    ("attack.suite=fast", "attack.suite=fast asks for less than apgd-ce (100 steps)"),
    ("attack.names=apgd-ce,apgd-t,fab-t", "asks for less than square (5,000 queries)"),
    ("data.test=test[:500]", "data.test is test[:500], which is not all of test"),
    ("data.test=train[:500]", "data.test is train[:500], which is not all of test"),
    ("data.span=2", "data.span is 2, which is older than 3"),
    ("serving.platform=none", "serving.platform is none: no real server tries the model"),
]
SHARES = ("fgsm", "white_box", "transfer_fgsm", "transfer")
BOUND = (
    "gates.best=0.01", "data.span=3", "serving.platform=docker",
    *(f"gates.{share}=0.95" for share in SHARES),
)  # fmt: skip
OF_THE_PURPOSE = {
    "threat.norm", "threat.epsilon", "data.dataset", "data.classes", "data.class_names",
    "data.image_shape",
}  # fmt: skip
HARMLESS = {
    "seed": "which model comes out, not how it is judged",
    "data.train": "what is learnt",
    "data.validation": "what is learnt",
    "data.accept_classes": "other classes are another purpose",
    "data.resize": "the shape of the images is of the purpose",
    "data.shards": "how many files there are",
    "attack.suite": "its stages are compared",
    "serving.tag": "which release of the server",
}
"""Settings that no comparison sees, and why they need none. What trains a model is judged by the
gates: trainer, recipe and tuner."""


@pytest.mark.parametrize(("setting", "sentence"), LOWERED)
def test_each_gate_that_is_lowered_is_named(setting: str, sentence: str) -> None:
    bound = terms("robust", *BOUND).policy
    (found,) = terms("robust", *BOUND, setting).policy.weaker(bound)
    assert sentence in found
    if "train" not in setting:  # a split of other images is neither more nor less
        assert bound.weaker(terms("robust", *BOUND, setting).policy) == []


@pytest.mark.parametrize(
    ("own", "bound", "is_weaker"),
    [
        ("test[:600]", "test[:500]", False),
        ("test[:400]", "test[:500]", True),
        ("train[:600]", "test[:500]", True),
        ("test[100:700]", "test[:500]", True),
        ("test", "test[:500]", False),
        ("test[0:500]", "test[:500]", False),
        ("test[:80%]", "test[:50%]", False),
        ("test[:50%]", "test[:500]", True),
    ],
)
def test_more_images_are_no_less(own: str, bound: str, is_weaker: bool) -> None:
    one, other = (terms("robust", f"data.test={split}").policy for split in (own, bound))
    assert bool(one.weaker(other)) is is_weaker


def test_every_setting_is_compared_or_known_to_be_harmless() -> None:
    """A new one must be, too: nobody can lower what is not compared."""
    known = {setting.partition("=")[0] for setting, _ in LOWERED} | OF_THE_PURPOSE | set(HARMLESS)
    every = settings(dataclasses.asdict(preset("robust")))
    judging = {
        name for name in every if name.partition(".")[0] not in ("trainer", "recipe", "tuner")
    }
    assert judging - {"preset"} == known


@pytest.mark.parametrize(
    ("stricter", "bound"),
    [("robust", "smoke"), ("robust", "tutorial"), ("tutorial", "smoke")],
)
def test_a_stricter_preset_asks_for_no_less(stricter: str, bound: str) -> None:
    """What is right in the worst case is right under transferred FGSM, and Auto-PGD stands in for
    plain PGD."""
    assert terms(stricter).policy.weaker(terms(bound).policy) == []
    assert terms(bound).policy.weaker(terms(stricter).policy)


@pytest.mark.parametrize("name", PRESETS)
def test_the_file_reads_back_and_is_the_same_bytes(name: str) -> None:
    own = terms(name)
    text = own.to_toml()
    assert text.startswith("# What the models in this folder are for")
    assert Terms.from_toml(text) == own
    assert Terms.from_toml(text).to_toml() == text
    assert Terms.from_json(own.to_json()) == own
    assert len(own.digest()) == 64
    assert terms(name, "gates.clean=0.5").digest() != own.digest()


def test_odd_names_of_classes_survive() -> None:
    names = '["a\\"b", "c\\\\d", "\\u732b", "\\ud83d\\ude00", "e, f", "# g"]'
    own = terms("smoke", "data.image_shape=28,28,3", "data.classes=6", "data.dataset=/a/b c",
                f"data.class_names={names}")  # fmt: skip
    assert Terms.from_toml(own.to_toml()) == own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("clean = 0.98", "claen = 0.98"), "unknown: gates.claen"),
        (("clean = 0.98", "clean = 1.98"), "gates.clean is a fraction"),
        (("clean = 0.98", 'clean = "much"'), "gates.clean: expected a number, got 'much'"),
        (("[purpose]", "[purpoze]"), "purpose.dataset: expected a value for it$"),
        (('"apgd-t"', '"apgd-u"'), "gates.required"),
        (("[gates]", "gates = 3\n[gate]"), "gates"),
        (("epsilon = 0.2", "epsilon = "), "line"),
        (("[data]", "[date]"), "unknown: date"),
    ],
)
def test_what_is_no_terms_is_refused(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Terms.from_toml(terms().to_toml().replace(*change))


def test_a_gate_that_the_file_does_not_name_is_none() -> None:
    text = terms().to_toml().replace("worst_case = 0.93\n", "").replace("best = 0.0\n", "")
    assert Terms.from_toml(text).policy.gates.worst_case == 0.0


def test_any_cut_of_the_file_is_weaker_or_no_terms() -> None:
    """A power cut, or a disk that was full: a part of the file must never pass for the whole."""
    own = terms("robust", "gates.best=0.01")
    text = own.to_toml()
    for end in range(0, len(text.rstrip()), 7):
        try:
            part = Terms.from_toml(text[:end])
        except ConfigError:
            continue
        weaker = part.policy.weaker(own.policy) or part.purpose.differences(own.purpose)
        assert weaker, text[:end]


def test_a_run_under_reviewed_terms_takes_what_they_say() -> None:
    reviewed = terms("robust", "gates.clean=0.985", "threat.epsilon=0.15")
    config = under(preset("tutorial"), reviewed, "gates.toml")
    assert (config.gates, config.attack) == (reviewed.policy.gates, reviewed.policy.attack)
    assert config.threat.epsilon == 0.15
    assert terms_of(config) == reviewed


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (
            "fashion",
            ("", ""),
            "gates.toml is for another purpose: here the data set is fashion",
        ),
        ("smoke", ("", ""), r"data\.test is test\[:500\]"),
        ("robust", ("queries = 5000", "queries = 9000"), r"square \(9,000 queries\)"),
    ],
)
def test_terms_that_the_run_cannot_keep_are_refused(
    name: str, edit: tuple[str, str], message: str
) -> None:
    reviewed = Terms.from_toml(terms("robust").to_toml().replace(*edit))
    with pytest.raises(ConfigError, match=message):
        under(preset(name), reviewed, "gates.toml")


def test_the_tables_are_named_as_the_settings() -> None:
    tables: dict[str, Any] = tomllib.loads(terms().to_toml())
    config = dataclasses.asdict(RunConfig(preset="x"))
    for section in ("gates", "attack"):
        assert tables[section].keys() == config[section].keys()
    for section in ("data", "serving"):
        assert tables[section].keys() <= config[section].keys()
