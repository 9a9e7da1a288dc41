"""A check as a report of JUnit, which nearly every CI system shows: a test case a gate.

The form is that of Apache Ant's and Jenkins's JUnit task.
"""

from xml.etree import ElementTree

from components.evaluator.explained import Explanation
from gauntlet.check.report import CheckReport


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
        "skipped": sum(gate.passed is None for gate in gates),
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
    ElementTree.SubElement(suite, "system-out").text = _text(report.finding)
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
    elif gate.passed is None:
        ElementTree.SubElement(case, "skipped", message=_text(gate.not_compared))
    else:
        ElementTree.SubElement(case, "system-out").text = _text(gate.sentence)
    return case


def _text(text: str) -> str:
    """Text without the characters that no XML may hold."""
    return "".join(c if c in "\t\n" or c.isprintable() else ascii(c)[1:-1] for c in text)
