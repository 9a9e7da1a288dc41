"""A check as a report of JUnit, which nearly every CI system shows: a test case a gate.

The form is that of Apache Ant's and Jenkins's JUnit task.
"""

from xml.etree import ElementTree

from components.evaluator.explained import Explanation, Word
from gauntlet.check.report import CheckReport

SKIPPED = (Word.REPORTED, Word.NOT_COMPARED, Word.NOT_APPLICABLE)
"""What gates say that have judged nothing."""


def junit(report: CheckReport, seconds: float) -> str:
    """The XML of a check.

    Args:
        report: what came of it.
        seconds: how long it took.
    """
    gates = report.gates
    undone = report.result.undone
    counts = {
        "tests": len(gates) + len(undone),
        "failures": len(report.refusing),
        "errors": len(undone),
        "skipped": sum(gate.word in SKIPPED for gate in gates),
    }
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": _text(f"gauntlet check {report.evaluation.model.name}"),
            "time": f"{seconds:.3f}",
            **{name: str(count) for name, count in counts.items()},
        },
    )
    for gate in gates:
        suite.append(_case(gate))
    for number, sentence in enumerate(undone, 1):
        name = f"finished {number}"
        case = ElementTree.SubElement(suite, "testcase", classname="gauntlet", name=name)
        ElementTree.SubElement(case, "error", message=_text(sentence), type="undone")
    said = [report.finding, *(f"Note: {note}" for note in report.evaluation.notes)]
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join(said))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _case(gate: Explanation) -> ElementTree.Element:
    case = ElementTree.Element("testcase", classname="gauntlet.gates", name=gate.name, time="0")
    if gate.refuses:
        failure = ElementTree.SubElement(
            case, "failure", message=_text(gate.sentence), type="refused"
        )
        failure.text = _text("\n".join([gate.sentence, *gate.ids]))
    elif gate.word in SKIPPED:
        message = _text(f"{gate.word}: {gate.not_compared or gate.sentence}")
        ElementTree.SubElement(case, "skipped", message=message)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(gate.sentence)
    return case


def _text(text: str) -> str:
    """Text without the characters that no XML may hold."""
    return "".join(c if c in "\t\n" or c.isprintable() else ascii(c)[1:-1] for c in text)
