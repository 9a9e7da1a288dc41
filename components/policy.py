"""What the models in one place are for, and what one must reach to be pushed there: both together
are the terms, a file that can be reviewed.

Plain data, read without TensorFlow. `components.bound` says by which terms a folder of versions
is bound.
"""

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pydantic

from components.adversarial_example_gen.config import AttackConfig
from foundation.errors import ConfigError
from foundation.expected import expected
from foundation.json import dumps, plain
from foundation.ranges import Fraction, Section
from foundation.toml import toml
from robustness.config import AttackName, BoundName, CheckName, Norm
from robustness.suites import Stage, shown
from trainer.classes import changes

HEAD = """\
# What the models in this folder are for, and what a model must reach to be pushed to it.
#
# Gauntlet binds the folder to this at the first push, and compares every run with it before
# anything is computed: one with another purpose or a weaker policy stops (exit code 2). A push
# under a stricter policy writes this file anew. The names are those of --set; [stages] says how
# hard each attack tries. The card of each version holds the terms under which it was pushed, so an
# edit that asks for less is found, and must be signed: see "Terms" in docs/gates.md.
"""

STAND_INS = {
    "fgsm": ("pgd", "pgd-margin", "pgd-dlr", "apgd-ce", "apgd-t"),
    "pgd": ("pgd-margin", "pgd-dlr", "apgd-ce"),
    "pgd-margin": ("pgd-dlr", "apgd-t"),
    "pgd-dlr": ("pgd-margin", "apgd-t"),
}
"""Attacks that, with at least as many steps and restarts, ask for no less than another one."""

IMPLIED = ("clean", "fgsm", "white_box", "transfer_fgsm", "transfer")
"""Gates that a model passes with the bound of `worst_case`: what is right in the worst case is
right under each attack and without one."""


@dataclass(frozen=True, kw_only=True)
class GatesConfig(Section):
    """What the robust model must reach on the test split to be pushed.

    Shares of images are fractions, judged on the far end of their exact 95 % interval. A share of 0
    (of `gap`: 1), and an empty list, is no gate.

    clean: right on unmodified images. worst_case: right under every attack. certified: proven by a
    bound (0 where none applies: L2, layers without one). fgsm: right under FGSM made with the
    model's own gradients. white_box: right under the whole suite made with the model's own
    gradients. transfer_fgsm: right under FGSM made with the undefended model's gradients. transfer:
    right under the whole suite made with the undefended model's gradients. gap: right on clean
    images but broken by an attack, at most; 1 is no gate. worst_class: the worst case in the class
    where it is lowest. required: attacks and bounds that must have run. checks: honesty checks that
    must not fail. champion: significance level at which the model must not be worse than the served
    one, on clean images and in the worst case; 0 is no comparison. best: share of the images by
    which the worst case may lie below the best one that was ever pushed for the same purpose; 0 is
    no comparison.

    Raises:
        ConfigError: a value outside [0, 1], or a name twice in a list.
    """

    section: ClassVar[str] = "gates"
    clean: Fraction = 0.98
    worst_case: Fraction = 0.9
    certified: Fraction = 0.0
    fgsm: Fraction = 0.0
    white_box: Fraction = 0.0
    transfer_fgsm: Fraction = 0.0
    transfer: Fraction = 0.0
    gap: Fraction = 1.0
    worst_class: Fraction = 0.0
    required: tuple[AttackName | BoundName, ...] = ()
    checks: tuple[CheckName, ...] = tuple(CheckName)
    champion: Fraction = 0.025
    best: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, bound in dataclasses.asdict(self).items():
            if isinstance(bound, tuple) and len(set(bound)) < len(bound):
                raise ConfigError(f"gates.{name} has a name twice: {','.join(bound)}")


NO_SERVER = "none"

OPEN = GatesConfig(clean=0.0, worst_case=0.0, checks=(), champion=0.0)
"""No gate at all: what a file asks for that says nothing."""


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a model is for.

    dataset: tfds's name, or of the user's own images the name of the folder, of spans that of the
    folder of spans; not its path. class_names: in label order. image_shape: height, width,
    channels. norm, epsilon: the threat.
    """

    dataset: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    norm: Norm
    epsilon: float

    def differences(self, bound: "Purpose") -> list[str]:
        """How this purpose differs from the one that a place is bound to; a sentence each."""
        found = [
            f"{what} is {own}, not {theirs}"
            for what, own, theirs in (
                ("the data set", self.dataset, bound.dataset),
                ("the shape of the images", _shape(self), _shape(bound)),
                ("the norm", str(self.norm), str(bound.norm)),
                ("epsilon", f"{self.epsilon:g}", f"{bound.epsilon:g}"),
            )
            if own != theirs
        ]
        classes = changes(bound.class_names, self.class_names)
        return [*found, f"the classes are others: {classes}"] if classes else found

    def __str__(self) -> str:
        return (
            f"{self.dataset}, {len(self.class_names)} classes, images of {_shape(self)}, "
            f"{self.norm}, epsilon {self.epsilon:g}"
        )


def _shape(purpose: Purpose) -> str:
    return " x ".join(map(str, purpose.image_shape))


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a model must reach, and how hard it is tried.

    test: split of the data set on which it is judged; '' for any. stages: the bounds and attacks
    of `attack`, each with its steps, restarts, queries and targets. span: delivery of the data on
    which it is judged, 0 where there are none. server: where a real server tries it, if any.
    """

    gates: GatesConfig
    attack: AttackConfig
    test: str
    stages: Mapping[str, Mapping[str, int]]
    span: int = 0
    server: str = NO_SERVER

    def weaker(self, than: "Policy") -> list[str]:
        """In what this policy asks for less than another one; a sentence each."""
        return [
            *self._lower(than),
            *_without("gates.required", self.gates.required, than.gates.required),
            *_without("gates.checks", self.gates.checks, than.gates.checks),
            *self._easier(than),
        ]

    def _lower(self, than: "Policy") -> Iterator[str]:
        """Bounds of gates that ask for less."""
        own, reached = self.gates, _reached(self.gates)
        for name, share in reached.items():
            if share < (bound := getattr(than.gates, name)):
                yield f"gates.{name} is {getattr(own, name):g}, which asks for less than {bound:g}"
        if reached["worst_case"] < 1.0 - than.gates.gap and own.gap > than.gates.gap:
            yield f"gates.gap is {own.gap:g}, which allows more than {than.gates.gap:g}"
        if than.gates.best and not 0.0 < own.best <= than.gates.best:
            allows = f"allows more than {than.gates.best:g}" if own.best else "compares nothing"
            yield f"gates.best is {own.best:g}, which {allows}"

    def _easier(self, than: "Policy") -> Iterator[str]:
        """Attacks, checks and servers that are left out or try less, fewer or older images."""
        if than.attack.checks and not self.attack.checks:
            yield "attack.checks is false: no honesty check runs"
        left = [name for name, effort in than.stages.items() if not self._covers(name, effort)]
        if left:
            wanted = ", ".join(shown(name, than.stages[name]) for name in left)
            names = f" with attack.names={','.join(self.attack.names)}" if self.attack.names else ""
            yield f"attack.suite={self.attack.suite}{names} asks for less than {wanted}"
        if than.test and not _holds(self.test, than.test):
            yield f"data.test is {self.test}, which is not all of {than.test}"
        if self.span < than.span:
            yield f"data.span is {self.span}, which is older than {than.span}"
        if self.server == NO_SERVER != than.server:
            yield f"serving.platform is {self.server}: no real server tries the model"

    def _covers(self, name: str, effort: Mapping[str, int]) -> bool:
        """Whether an attack or bound is among the stages, or one that stands in for it."""
        own = [
            self.stages[each] for each in (name, *STAND_INS.get(name, ())) if each in self.stages
        ]
        return any(
            all(each.get(what, 0) >= count for what, count in effort.items()) for each in own
        )


ASKS_NOTHING = Policy(gates=OPEN, attack=AttackConfig(checks=False), test="", stages={})
"""The policy of a place whose models were all pushed by hand."""


def _reached(gates: GatesConfig) -> dict[str, float]:
    """What a model that passes has reached at least, by gate: what is proven is right in the worst
    case, and what is right there is right under each attack."""
    worst = max(gates.worst_case, gates.certified)
    implied = {name: max(getattr(gates, name), worst) for name in IMPLIED}
    own = {name: getattr(gates, name) for name in ("certified", "worst_class", "champion")}
    return {**implied, "worst_case": worst, **own}


def _holds(split: str, other: str) -> bool:
    """Whether a split has all images of another one, as far as their names tell."""
    if other == split or other.startswith(f"{split}["):
        return True
    begins = (re.fullmatch(r"(\w+)\[0?:(\d+)(%?)\]", each) for each in (split, other))
    own, theirs = (found.groups() if found else None for found in begins)
    if not own or not theirs or (own[0], own[2]) != (theirs[0], theirs[2]):
        return False
    return int(own[1]) >= int(theirs[1])


def _without(name: str, own: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    missing = [str(each) for each in wanted if each not in own]
    return [f"{name} is without {', '.join(missing)}"] if missing else []


def efforts_of(stages: tuple[Stage, ...]) -> dict[str, dict[str, int]]:
    """How hard each stage tries: its counts by name; none for a bound."""
    counts = ("steps", "restarts", "queries", "targets")
    efforts = {}
    for stage in stages:
        name = str(stage) if isinstance(stage, BoundName) else str(stage.name)
        efforts[name] = {count: getattr(stage, count) for count in counts if hasattr(stage, count)}
    return efforts


@dataclass(frozen=True, kw_only=True)
class Terms:
    """A purpose, and the policy that goes with it."""

    purpose: Purpose
    policy: Policy

    def plain(self) -> dict[str, Any]:
        """The terms as a card holds them: the tables of the file."""
        policy = self.policy
        return dict(
            plain(
                {
                    "purpose": self.purpose,
                    "gates": policy.gates,
                    "attack": policy.attack,
                    "data": {"test": policy.test, "span": policy.span},
                    "serving": {"platform": policy.server},
                    "stages": policy.stages,
                }
            )
        )

    @classmethod
    def of_plain(cls, tables: Any) -> "Terms":
        """Inverse of `plain`; a gate that is not named is none.

        Raises:
            ConfigError: something is missing, unknown, or of the wrong kind.
        """
        if not isinstance(tables, dict):
            raise ConfigError("the terms are no tables")
        gates = {**plain(OPEN), **_table(tables, "gates")}
        attack = {"checks": False, **_table(tables, "attack")}
        data, serving = _table(tables, "data"), _table(tables, "serving")
        values = {
            "purpose": _table(tables, "purpose"),
            "policy": {
                "gates": gates,
                "attack": attack,
                "test": data.get("test", ""),
                "span": data.get("span", 0),
                "server": serving.get("platform", NO_SERVER),
                "stages": _table(tables, "stages"),
            },
        }
        try:
            terms = pydantic.TypeAdapter(cls).validate_python(values)
        except pydantic.ValidationError as error:
            (first, *_) = error.errors(include_url=False)
            where = ".".join(str(part) for part in first["loc"] if part != "policy")
            got = "" if first["type"] == "missing" else f", got {first['input']!r:.100}"
            raise ConfigError(f"{where}: {expected(first)}{got}") from error
        known = terms.plain()
        if unknown := [name for name in _names(tables) if name not in _names(known)]:
            raise ConfigError(f"unknown: {', '.join(unknown)}")
        return terms

    def to_json(self) -> str:
        """The terms in one line, as a parameter of a node holds them."""
        return dumps(self.plain(), indent=None)

    @classmethod
    def from_json(cls, text: str) -> "Terms":
        """Inverse of `to_json`; raises ConfigError where it is none."""
        try:
            return cls.of_plain(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"these are no terms: {text[:200]}") from error

    def to_toml(self) -> str:
        """The file: the same terms give the same bytes."""
        tables = (f"[{name}]\n{_lines(table)}" for name, table in self.plain().items())
        return "\n".join([HEAD, *tables])

    @classmethod
    def from_toml(cls, text: str) -> "Terms":
        """Inverse of `to_toml`; raises ConfigError where it is none."""
        try:
            return cls.of_plain(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(str(error)) from error

    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()


def _table(tables: dict[str, Any], name: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{name} is a table, got {table!r}")
    return table


def _names(tables: Mapping[str, Any]) -> list[str]:
    """The names of all tables and of the entries in them."""
    inside = [f"{name}.{key}" for name, table in tables.items() for key in table]
    return [*tables, *inside]


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
