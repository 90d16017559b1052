"""Findings → lines for people, an object for `--json`, and the table of rules in docs/lint.md. Judges nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from calibration.lint.finding import SEVERITIES, Finding, Rule

MOST_PLACES = 8  # of one rule; --json has them all


def as_text(findings: Sequence[Finding]) -> list[str]:
    """Return a head line for each rule, one line for each place below it, and the count."""
    lines: list[str] = []
    for rule, group in groupby(findings, key=lambda finding: finding.rule):
        places = list(group)
        lines.append(f"{rule.severity}  {rule.id}: {rule.demands}")
        lines += [f"    {_printable(finding.node)}: {_printable(finding.found)}" for finding in places[:MOST_PLACES]]
        if len(places) > MOST_PLACES:
            lines.append(f"    … and {len(places) - MOST_PLACES} more, listed by --json")
        lines.append(f"    fix: {rule.fix}  ({rule.source})")
    return [*lines, _count(findings)]


def as_dict(findings: Sequence[Finding], graph: str, target: str) -> dict[str, Any]:
    """Return what `mien lint --json` prints."""
    return {"graph": graph, "target": target, "counts": _counts(findings),
            "findings": [finding.as_dict() for finding in findings]}


def as_markdown(rules: Sequence[Rule]) -> str:
    """Return the rules as a Markdown table."""
    rows = ["| rule | severity | demand | TensorRT-RTX 1.7, asked | fix | source |",
            "|---|---|---|---|---|---|"]
    rows += [f"| `{r.id}` | {r.severity} | {r.demands} | {r.confirmed} | {r.fix} | [{_site(r.source)}]({r.source}) |"
             for r in rules]
    return "\n".join(rows) + "\n"


def _count(findings: Sequence[Finding]) -> str:
    counts = _counts(findings)
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items())


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    found = Counter(finding.rule.severity for finding in findings)
    return {severity: found[severity] for severity in SEVERITIES}


def _printable(text: str) -> str:
    """A name from a hostile file may hold line ends and terminal codes; a person sees one plain line."""
    return "".join(c if c.isprintable() else "?" for c in text)[:200]


def _site(url: str) -> str:
    return url.partition("//")[2].partition("/")[0]
