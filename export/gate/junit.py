"""A check as JUnit XML, which every CI reads: a test case a question; inconclusive is an error, never skipped.

Knows nothing of how a verdict came about. Format: https://github.com/testmoapp/junitxml
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from export.gate.check import Finding
from export.gate.clean_text import clean_text
from export.gate.report import Report


def junit_xml(report: Report) -> str:
    """Return one test suite: the links, the gate's questions, the baseline's. Small classes are listed as output."""
    graph = f"{report.model}.{report.graph_facts['graph']}.{report.target}"
    suite = ElementTree.Element("testsuite", name=f"mien check {graph}")
    for link in report.links:
        broken = link.text if link.verdict == "fail" else ""
        _case(suite, f"{graph}.chain", f"{link.name} against {link.against}", broken, "")
    _non_finite(suite, graph, report.judgement.non_finite)
    _questions(suite, f"{graph}.gate", report.judgement.findings)
    if report.baseline:
        _questions(suite, f"{graph}.baseline", report.baseline[1].findings)
    for outcome in ("failure", "error"):
        suite.set(f"{outcome}s", str(len(suite.findall(f"testcase/{outcome}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    ElementTree.SubElement(suite, "system-out").text = "\n".join(report.lines())
    ElementTree.indent(suite)
    content = clean_text(ElementTree.tostring(suite, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{content}\n'


def _questions(suite: ElementTree.Element, group: str, findings: Iterable[Finding]) -> None:
    for finding in findings:
        _case(suite, group, finding.name, finding.text if finding.verdict == "fail" else "",
              finding.text if finding.verdict == "inconclusive" else "")


def _non_finite(suite: ElementTree.Element, graph: str, images: int) -> None:
    broken = f"{images} images have outputs that are not finite" if images else ""
    _case(suite, f"{graph}.gate", "every output is a number", broken, "")


def _case(suite: ElementTree.Element, group: str, name: str, failure: str, error: str) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=group, name=name)
    if failure:
        ElementTree.SubElement(case, "failure", message=failure, type="fail")
    if error:
        ElementTree.SubElement(case, "error", message=error, type="inconclusive")
