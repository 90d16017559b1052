"""Checks any ONNX graph against the rules that TensorRT enforces or punishes, before a compiler is at hand.

`lint` gives findings, worst first; each rule says its fix and its source. Knows nothing of what a compiler will make
of a graph that passes: kernels are chosen on the device.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import onnx

from calibration.lint import fusion_rules, graph_rules, number_rules, qdq_rules
from calibration.lint.finding import SEVERITIES, Finding, Rule
from calibration.lint.target import TARGETS, find_target
from calibration.lint.view import look_at

__all__ = ["RULES", "TARGETS", "Finding", "Rule", "advice_for", "lint"]

RULES: tuple[Rule, ...] = tuple(sorted(
    graph_rules.RULES + number_rules.RULES + qdq_rules.RULES + fusion_rules.RULES,
    key=lambda rule: SEVERITIES.index(rule.severity)))


def lint(model: onnx.ModelProto, target: str = "tensorrt") -> tuple[Finding, ...]:
    """Judge a model, subgraphs and local functions included; the model is not changed and no file is read.

    Returns errors first, then warnings, then notes; within a rule in the graph's order, each place once. Raises
    BadInput for an unknown target.
    """
    view = look_at(model, find_target(target))
    return tuple(Finding(rule, node, found) for rule in RULES for node, found in dict.fromkeys(rule.check(view)))


def advice_for(parser_error: str, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that explain a parser's message: errors at the nodes it names, all if it names none."""
    errors = [finding for finding in findings if finding.rule.severity == "error"]
    named = [finding for finding in errors if re.search(rf"(?<!\w){re.escape(finding.node)}(?!\w)", parser_error)]
    return tuple(named or errors)
