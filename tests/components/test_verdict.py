"""Summary and Verdict: what a platform is told of a model."""

import json
from pathlib import Path

import pytest
from small_world import artifact
from tfx.types.standard_artifacts import InfraBlessing, ModelBlessing, ModelEvaluation, PushedModel
from three_runs import explained

from components.verdict import Summary, Verdict
from foundation.errors import Refused

NO_CHAMPION = {
    "passed": None,
    "value": None,
    "sentence": "No champion.",
    "not_compared": "there is no champion",
}
REFUSED = explained("worst_case", 0.5) | {"passed": False, "sentence": "Half of them are wrong."}


def summary(
    folder: Path,
    gates: list[dict[str, object]],
    problems: list[str],
    pushed: str,
    **signatures: str,
) -> ModelEvaluation:
    """The artifact that Summary writes."""
    inputs = {
        "blessing": artifact(ModelBlessing, str(folder / "blessing")),
        "servable": artifact(InfraBlessing, str(folder / "servable")),
        "pushed": artifact(PushedModel, str(folder / "pushed")),
    }
    for name, file, content in (
        ("blessing", "gates.json", gates),
        ("servable", "problems.json", problems),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_text(json.dumps(content))
    inputs["pushed"].set_int_custom_property("pushed", int(bool(pushed)))
    inputs["pushed"].set_string_custom_property("pushed_destination", pushed)
    for name, signature in signatures.items():
        inputs["pushed"].set_string_custom_property(name, signature)
    made = artifact(ModelEvaluation, str(folder / "summary"))
    each = {name: [one] for name, one in inputs.items()}
    Summary.EXECUTOR_SPEC.executor_class().Do(each, {"summary": [made]}, {})
    return made


def verdict(made: ModelEvaluation, fail_on_refusal: int) -> None:
    properties = {"fail_on_refusal": fail_on_refusal}
    Verdict.EXECUTOR_SPEC.executor_class().Do({"summary": [made]}, {}, properties)


def test_a_push_is_told_and_succeeds(tmp_path: Path) -> None:
    made = summary(tmp_path, [explained("clean", 0.9)], [], "gs://b/serving/17")
    content = json.loads((tmp_path / "summary" / "summary.json").read_text())
    assert (content["pushed"], content["refused_by"]) == ("gs://b/serving/17", [])
    assert content["gates"][0]["name"] == "clean"
    assert made.get_string_custom_property("pushed") == "gs://b/serving/17"
    verdict(made, fail_on_refusal=1)


@pytest.mark.parametrize(
    ("gates", "problems", "by"),
    [
        ([explained("clean", 0.9), REFUSED], [], "worst_case"),
        ([explained("champion_clean", 0.0) | NO_CHAMPION, REFUSED], [], "worst_case"),
        ([REFUSED], ["It answers nothing."], "worst_case,serving"),
        ([explained("clean", 0.9)], ["It answers nothing."], "serving"),
    ],
)
def test_a_refusal_says_who_and_why_and_fails(
    tmp_path: Path, gates: list[dict[str, object]], problems: list[str], by: str
) -> None:
    made = summary(tmp_path, gates, problems, "")
    assert made.get_string_custom_property("refused_by") == by
    assert made.get_string_custom_property("pushed") == ""
    with pytest.raises(Refused, match="refused by") as error:
        verdict(made, fail_on_refusal=1)
    assert error.value.exit_code == 3
    for reason in (*["Half of them are wrong."] * ("worst_case" in by), *problems):
        assert reason in str(error.value)
    assert "No champion." not in str(error.value)
    verdict(made, fail_on_refusal=0)


def test_a_model_that_was_rolled_back_from_is_refused_by_that(tmp_path: Path) -> None:
    by = {"by": "me", "at": "2026-01-01", "reason": "slow"}
    made = summary(tmp_path, [explained("clean", 0.9)], [], "", withdrawn=json.dumps(by))
    assert made.get_string_custom_property("refused_by") == "rollback"
    with pytest.raises(Refused, match="rollback of 2026-01-01 by me went back from it: slow"):
        verdict(made, fail_on_refusal=1)


def test_a_model_that_was_blessed_by_hand_is_refused_by_that(tmp_path: Path) -> None:
    by = {"by": "me", "at": "2026-01-01", "reason": "hurry"}
    made = summary(tmp_path, [explained("clean", 0.9)], [], "", forced=json.dumps(by))
    assert made.get_string_custom_property("refused_by") == "blessing by force"
    with pytest.raises(Refused, match="blessed by hand at 2026-01-01 by me: hurry"):
        verdict(made, fail_on_refusal=1)


def test_nothing_pushed_without_a_reason_is_no_push(tmp_path: Path) -> None:
    """As where somebody withdrew a blessing that a cache kept."""
    made = summary(tmp_path, [explained("clean", 0.9)], [], "")
    with pytest.raises(Refused, match="though nothing refused"):
        verdict(made, fail_on_refusal=1)
