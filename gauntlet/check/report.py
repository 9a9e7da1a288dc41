"""What comes of a check; read without TensorFlow."""

from collections import Counter
from dataclasses import dataclass

from components.evaluator.explained import Explanation, Word
from foundation.json import Document
from gauntlet.evaluation.report import Report, Result
from gauntlet.tables.sentence import in_words
from robustness.config import ThreatModel


@dataclass(frozen=True, kw_only=True)
class Checked(Document, schema="check/1"):
    """A model beside its gates: `gauntlet check`.

    passed: whether every gate holds, and nothing was left undone.
    verdict: what became of the model, in a sentence. finding: what was found of it, in a sentence.
    evaluation: what was measured, at one epsilon, with the gates.
    """

    passed: bool
    verdict: str
    finding: str
    evaluation: Report


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """A model beside its gates.

    evaluation: what was measured, at one epsilon.
    """

    evaluation: Report

    @property
    def result(self) -> Result:
        (result,) = self.evaluation.results
        return result

    @property
    def gates(self) -> tuple[Explanation, ...]:
        return self.result.gates

    @property
    def refusing(self) -> list[Explanation]:
        """The gates that the model does not pass."""
        return [gate for gate in self.gates if gate.refuses]

    @property
    def passed(self) -> bool:
        """Whether every gate holds, and nothing was left undone."""
        return not self.refusing and not self.result.undone

    @property
    def verdict(self) -> str:
        """What became of the model, in a sentence."""
        refusing = [gate.name for gate in self.refusing]
        if self.passed:
            words = Counter(gate.word for gate in self.gates)
            held = words.pop(Word.PASSED, 0)
            beside = "; ".join(f"{word}: {count}" for word, count in words.items())
            hold = "gate holds" if held == 1 else "gates hold"
            return f"Passed: {held} {hold} ({beside})." if beside else f"Passed: all {held} {hold}."
        undone = "it was not finished" if self.result.undone else ""
        return f"Refused by {', '.join(refusing)}." if refusing else f"Refused: {undone}."

    @property
    def finding(self) -> str:
        """What was found of the model, in a sentence."""
        result = self.result
        return in_words(
            result.examples,
            result.clean,
            result.worst_case,
            result.certified,
            ThreatModel(norm=result.norm, epsilon=result.epsilon),
            result.not_certified,
        )

    def to_json(self) -> str:
        """The content of the file of `--json`."""
        return Checked(
            passed=self.passed,
            verdict=self.verdict,
            finding=self.finding,
            evaluation=self.evaluation,
        ).to_json()
