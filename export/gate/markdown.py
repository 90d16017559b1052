"""A check as Markdown, for a pull request: the verdict first, then a table of questions, classes in a fold.

Knows nothing of how a verdict came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from export.gate.check import Finding, number
from export.gate.clean_text import clean_text
from export.gate.report import Report

_SIGNS = {"pass": "✅", "fail": "❌", "inconclusive": "❔"}


def markdown(report: Report) -> str:
    """Return the report; text in it cannot break out of a table."""
    figures = report.answers.figures()
    lines = [f"## {_SIGNS[report.verdict]} {_text(report.headline)}", "", _text(report.what), ""]
    lines += _table(["", "question", "found", "95 % one-sided, low to high", "allowed", "more images"],
                    _rows(report.judgement.findings, report.judgement.reported))
    if report.baseline:
        lines += ["", f"Against {_text(report.baseline[0].name)}:", ""]
        lines += _table(["", "question", "found", "95 % one-sided, low to high", "allowed", "more images"],
                        _rows(report.baseline[1].findings, ()))
    lines += ["", f"Accuracy {figures['accuracy_reference']:.2%} → {figures['accuracy_engine']:.2%}, {figures['lost']} "
                  f"lost and {figures['won']} won (exact McNemar p {figures['mcnemar_p']:.2g}).", ""]
    lines += ["<details><summary>Links and classes</summary>", ""]
    lines += _table(["link", "verdict"], [[link.text, link.verdict] for link in report.links])
    lines += [""]
    lines += _table(["class", "images", "recall before", "after", "lost", "won", "p, Holm"],
                    [[c.name, f"{c.images:,}", f"{c.recall_reference:.1%}", f"{c.recall_engine:.1%}", str(c.lost),
                      str(c.won), f"{c.p:.2g}"] for c in report.answers.classes()])
    lines += ["", "</details>", *(f"\n> {_text(warning)}" for warning in report.warnings)]
    return clean_text("\n".join(lines) + "\n")


def _rows(gated: Iterable[Finding], reported: Iterable[Finding]) -> list[list[str]]:
    rows = [(_SIGNS[f.verdict], f) for f in gated] + [("reported only", f) for f in reported]
    return [[sign, f.name, f"{number(f.value)} {f.unit}", f"{number(f.low)} to {number(f.high)}", number(f.limit),
             f"{f.more_images:,}" if f.more_images else ""] for sign, f in rows]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads),
            *("| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows)]


def _text(value: str) -> str:
    """Return text that Markdown and HTML leave as it is."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
