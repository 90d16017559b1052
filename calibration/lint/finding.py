"""What a rule is, what it finds, and for which compiler. Knows no rule.

Severities: an **error** is a graph that TensorRT refuses, or one that cannot answer; a **warning** costs speed or
accuracy; a **note** is worth knowing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from calibration.lint.view import View

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
# What TensorRT-RTX 1.7 did with the graph by which the tests break a rule. "accepted" says that the rule is no error,
# not that its cost was measured: that needs a GPU, and is the source's word.
Confirmed = Literal["rejected", "accepted"]
Places = Iterable[tuple[str, str]]  # (the node or tensor, what was found there)


@dataclass(frozen=True)
class Rule:
    """One demand on a graph: how bad a breach is, what to do, who says so, and what the compiler did with one."""

    id: str
    severity: Severity
    demands: str
    fix: str
    source: str
    confirmed: Confirmed
    check: Callable[[View], Places] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Finding:
    """One breach of a rule."""

    rule: Rule
    node: str
    found: str

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {"rule": self.rule.id, "severity": self.rule.severity, "node": self.node, "found": self.found,
                "fix": self.rule.fix, "source": self.rule.source, "confirmed": self.rule.confirmed}
