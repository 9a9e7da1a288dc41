"""The tally: the same counts as a table with an entry for each image, in whatever order and parts
images come, and a size that does not depend on how many there are."""

import pickle
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from answered import CLASSES, answered, answers
from scipy.stats import binomtest

from components.evaluator.gate import (
    Accuracy,
    Certified,
    Disagreement,
    Gap,
    Gate,
    Missing,
    NoWorse,
    WorstCase,
    WorstClass,
)
from components.evaluator.outcome import image_outcome, row_outcomes
from components.evaluator.sample import SAMPLE
from components.evaluator.tally import Tally, tally
from components.records.names import CLEAN
from components.records.record import Rows

ATTACKS = (CLEAN, "fgsm@undefended", "fgsm@robust", "strongest@robust")
SEEDS = range(24)


@dataclass(frozen=True, kw_only=True)
class World:
    """A random table: rows, and what the served candidate answers on them."""

    rows: Rows
    served: np.ndarray


def world(seed: int) -> World:
    """Images of three classes under a few attacks; some rows are missing, some come twice, some
    images the champion did not see, and the served model disagrees on a few."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 7, 60, 400]))
    attacks = ATTACKS[: rng.integers(1, 5)] if seed % 5 else ATTACKS[1:3]

    def random(share: float) -> dict[str, list[bool]]:
        return {attack: (rng.random(n) < share).tolist() for attack in attacks}

    right = random(rng.choice([0.5, 0.9]))
    champion = random(0.8) if seed % 3 else None
    label = rng.integers(0, 3, n).tolist()
    rows = answered(right, champion, (rng.random(n) < 0.6).tolist(), label)
    if seed % 4:
        rows = rows[rng.random(len(rows)) < 0.95]
        rows = Rows.concatenate([rows, again(rows[rng.random(len(rows)) < 0.05], rng)])
    if champion and seed % 2:
        unseen = set(rows.id[rng.random(len(rows)) < 0.02].tolist())
        there = np.array([identity not in unseen for identity in rows.id])
        shown = np.where(there, rows.predictions["champion"], -1)
        rows = rows.with_model("champion", shown)
    rows = rows[rng.permutation(len(rows))]
    off = rng.random(len(rows)) < 0.01
    recorded = rows.predictions["robust"]
    return World(rows=rows, served=np.where(off, (recorded + 1) % CLASSES, recorded))


def again(rows: Rows, rng: np.random.Generator) -> Rows:
    """The same rows with other answers."""
    right = (rng.random(len(rows)) < 0.5).tolist()
    return rows.with_model("robust", answers(rows.label, right))


class Reference:
    """Every image in a dictionary, as plain as it gets."""

    def __init__(self, world: World) -> None:
        rows = world.rows
        self.ids = sorted(set(rows.id.tolist()))
        own = (rows.predictions["robust"] == rows.label) & (world.served == rows.label)
        self.right = self._by_attack(rows, own, np.ones(len(rows), bool))
        rival = rows.predictions["champion"]
        self.champion = self._by_attack(rows, rival == rows.label, rival >= 0)
        label = dict(zip(rows.id.tolist(), rows.label.tolist(), strict=True))
        proofs = dict(zip(rows.id.tolist(), rows.certified_by["robust"].tolist(), strict=True))
        self.label = np.array([label[identity] for identity in self.ids])
        self.proven = np.array([proofs[identity] != "" for identity in self.ids])
        self.disagreement = float(np.mean(rows.predictions["robust"] != world.served))

    def _by_attack(self, rows: Rows, right: np.ndarray, there: np.ndarray) -> dict[str, np.ndarray]:
        """Whether each image is right, by attack; one that lacks the row is not."""
        found: dict[str, dict[bytes, bool]] = {}
        for identity, attack, good, known in zip(rows.id, rows.attack, right, there, strict=True):
            if known:
                column = found.setdefault(attack, {})
                column[identity] = column.get(identity, True) and bool(good)
        return {
            attack: np.array([column.get(identity, False) for identity in self.ids])
            for attack, column in found.items()
        }

    def robust(self, right: dict[str, np.ndarray]) -> np.ndarray:
        return np.all(list(right.values()), axis=0)

    def against(self, gate: Gate) -> np.ndarray | None:
        """Whether each image speaks against the candidate; None where nothing was measured."""
        nowhere, robust = np.zeros(len(self.ids), bool), self.robust(self.right)
        clean = self.right.get(CLEAN)
        match gate:
            case Accuracy():
                right = self.right.get(gate.argument[0])
                return None if right is None else ~right
            case WorstCase():
                return ~robust
            case Certified():
                return ~(robust & self.proven)
            case Gap():
                return None if clean is None else clean & ~robust
            case WorstClass():
                return ~robust & (self.label == self.worst_class())
            case NoWorse(argument=("worst_case",)):
                return self.robust(self.champion) & ~robust if self.champion else nowhere
            case NoWorse():
                rival = self.champion.get(CLEAN)
                if not self.champion:
                    return nowhere
                return None if clean is None or rival is None else rival & ~clean
        raise NotImplementedError(gate)

    def worst_class(self) -> int:
        robust = self.robust(self.right)
        classes = np.unique(self.label).tolist()
        ends = [interval(robust[self.label == label])[0] for label in classes]
        return int(classes[int(np.argmin(ends))])

    def judged(self, gate: Gate) -> tuple[float, float]:
        """The value, and what the bound is compared with."""
        against = self.against(gate)
        if against is None:
            return float("nan"), float("nan")
        if isinstance(gate, NoWorse):
            if not self.champion:
                return 0.0, 1.0
            clean = gate.argument == (CLEAN,)
            own = self.right[CLEAN] if clean else self.robust(self.right)
            rival = self.champion[CLEAN] if clean else self.robust(self.champion)
            lost, won = int(np.sum(rival & ~own)), int(np.sum(own & ~rival))
            p = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
            tells = binomtest(len(own), len(own), alternative="greater").pvalue < gate.bound
            return (won - lost) / len(own), float(p) if tells else float("nan")
        if isinstance(gate, WorstClass):
            against = against[self.label == self.worst_class()]
        good = against if isinstance(gate, Gap) else ~against
        return float(np.mean(good)), interval(good)[isinstance(gate, Gap)]


def interval(good: np.ndarray) -> tuple[float, float]:
    """Clopper and Pearson's, 95 %."""
    found = binomtest(int(np.sum(good)), len(good)).proportion_ci(0.95, method="exact")
    return found.low, found.high


def gates() -> Iterator[Gate]:
    for attack in (*ATTACKS, "square@robust"):
        yield Accuracy(name=attack, bound=0.5, argument=(attack,))
    for kind in (WorstCase, Certified, WorstClass, Gap):
        yield kind(name=kind.quantity, bound=0.5)
    for on in (CLEAN, "worst_case"):
        yield NoWorse(name=on, bound=0.025, argument=(on,))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tally_says_what_a_table_of_all_images_says(seed: int) -> None:
    """To the last image: values, ends of intervals, p-values, and which images are against it."""
    random = world(seed)
    counted, reference = tally(random.rows, random.served), Reference(random)
    assert counted.subject.images == len(reference.ids)
    for gate in gates():
        finding, against = gate.measure(counted), reference.against(gate)
        value, judged = reference.judged(gate)
        assert finding.value == pytest.approx(value, abs=1e-12, nan_ok=True), gate
        assert finding.compared == pytest.approx(judged, abs=1e-12, nan_ok=True), gate
        assert gate.holds(finding.compared) == gate.holds(judged), gate
        if against is not None and finding.images_against is not None:
            bad = [identity for identity, no in zip(reference.ids, against, strict=True) if no]
            assert finding.images_against == len(bad), gate
            lowest = sorted(bad, key=lambda identity: (zlib.crc32(identity), identity))[:SAMPLE]
            assert finding.ids == [identity.decode() for identity in lowest], gate
    disagreement = Disagreement(name="served", bound=0.0).measure(counted)
    assert disagreement.value == pytest.approx(reference.disagreement, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_neither_order_nor_parts_matter(seed: int) -> None:
    """Rows in any order, images on any worker, tallies added up in any order, through JSON."""
    random = world(seed)
    expected = tally(random.rows, random.served)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(random.rows))
    images: dict[bytes, list] = {}
    for part in np.array_split(order, 3):
        for identity, row in row_outcomes(random.rows[part], random.served[part]):
            images.setdefault(identity, []).append(row)
    tallies = [Tally() for _ in range(4)]
    for identity, rows in images.items():
        rng.choice(tallies).add(image_outcome(identity, rows))
    merged = Tally()
    for part in rng.permutation(tallies):
        merged.merge(Tally.from_json(pickle.loads(pickle.dumps(part)).to_json()))
    assert merged == expected


def test_its_size_does_not_depend_on_the_number_of_images() -> None:
    """Ten times as many images that say the same things."""
    rng = np.random.default_rng(0)
    sizes = []
    for n in (4_000, 40_000):
        right, champion = (
            {attack: (rng.random(n) < 0.9).tolist() for attack in ATTACKS} for _ in range(2)
        )
        certified = (rng.random(n) < 0.5).tolist()
        rows = answered(right, champion, certified, rng.integers(0, 2, n).tolist())
        sizes.append(len(pickle.dumps(tally(rows))))
    assert sizes[1] < 2 * sizes[0], "the samples were not all full before"
    assert sizes[1] < 200_000


def test_what_only_some_images_faced_was_not_faced() -> None:
    gate = Missing(name="r", bound=0.0, argument=("ibp", "fgsm", "square"))
    assert gate.measure(tally(answered({CLEAN: [True]}))).compared == 1
    everything = answered({CLEAN: [True, True]}, faced="ibp,fgsm,square")
    assert gate.measure(tally(everything)).compared == 0
    half = Rows.concatenate(
        [answered({CLEAN: [True]}, faced="ibp,fgsm,square"), answered({"fgsm@robust": [True]})]
    )
    assert gate.measure(tally(half)).compared == 1, "an attack that only some of the images faced"


def test_an_empty_tally_survives_json() -> None:
    assert Tally.from_json(Tally().to_json()) == Tally()
