"""A check as one HTML page: the verdict, its intervals, classes, confusion's change, reliability. One file, no script.

Faces stand in it only where the caller hands them over. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from export.gate.check import Finding, number
from export.gate.clean_text import clean_text
from export.gate.pictures import draw_confusion_change, draw_intervals, draw_reliability
from export.gate.report import Report
from export.int8.calibration_pictures import contact_sheet
from train.expression.html_page import facts_table, html_page, percent, table, text
from train.expression.pictures.style import as_svg

WORST_FLIPS = 16


def gate_page(report: Report, faces: np.ndarray | None) -> str:
    """Return the page; faces: all that were checked, (N, C, H, W) uint8, to show the worst flips of, or None."""
    judged = report.judgement
    findings = (*judged.findings, *judged.reported)
    parts = [
        f"<h1>{text(report.headline)}</h1>",
        *([f"<p class='quiet'>{text(report.what)}</p>"] if report.verdict != "pass" else []),
        *(f"<p>{text(warning)}</p>" for warning in report.warnings),
        "<h2>What was asked</h2>", as_svg(draw_intervals(findings, len(judged.findings)), "intervals"),
        "<p class='quiet'>Each bar is a one-sided 95 % bound on both sides: a budget holds when the whole bar lies "
        "left of its limit, and is broken when it lies right of it by more than chance, Holm-corrected over the "
        "questions. Grey: classes of fewer than 300 images, reported and not gated.</p>",
        _findings(findings, len(judged.findings)),
        "<h2>Accuracy</h2>", *_accuracy(report),
        "<h2>Every link</h2>", table(["link", "against", "verdict"], [
            [link.name, link.against, link.verdict] for link in report.links]),
        *(f"<p>{text(link.text)}</p>" for link in report.links if link.verdict == "fail"),
        *_baseline(report),
        "<h2>Classes</h2>", table(["class", "images", "recall before", "after", "lost", "won", "McNemar p, Holm"], [
            [c.name, f"{c.images:,}", percent(c.recall_reference), percent(c.recall_engine), str(c.lost), str(c.won),
             f"{c.p:.2g}"] for c in report.answers.classes()]),
        "<h2>How the answers moved</h2>", "<div class='pair'>",
        as_svg(draw_confusion_change(report.answers), "confusion"),
        as_svg(draw_reliability(report.answers), "reliability"), "</div>",
        "<h2>Labels that changed</h2>", *_flips(report, faces),
        "<h2>Where it came from</h2>", facts_table(_origin(report)),
    ]
    return clean_text(html_page(f"mien check: {report.model} {report.graph_facts['graph']}", parts))


def _findings(findings: tuple[Finding, ...], gating: int) -> str:
    rows = [[f.name, f"{number(f.value)} {f.unit}", f"{number(f.low)} to {number(f.high)}", number(f.limit),
             f"{f.p:.2g}", f.verdict if place < gating else "reported", f"{f.more_images:,}" if f.more_images else ""]
            for place, f in enumerate(findings)]
    return table(["question", "found", "interval", "allowed", "p of broken, Holm", "verdict", "more images"], rows)


def _accuracy(report: Report) -> Iterable[str]:
    f = report.answers.figures()
    yield (f"<p>{percent(float(str(f['accuracy_reference'])))} → {percent(float(str(f['accuracy_engine'])))}: "
           f"{f['lost']} images were right before and are wrong now, {f['won']} the reverse (exact McNemar p "
           f"{f['mcnemar_p']:.2g}). Macro-F1 {f['macro_f1_reference']:.4f} → {f['macro_f1_engine']:.4f}. KL from the "
           f"reference {f['mean_kl']:.5f} nats on average, {f['worst_kl']:.3f} at worst; worst |Δlogit| "
           f"{f['worst_delta']:.3g}; confidence {100 * float(str(f['confidence_shift'])):+.2f} points; "
           f"{f['non_finite']} answers are not finite.</p>")


def _baseline(report: Report) -> Iterable[str]:
    if report.baseline is None:
        return
    before, judged = report.baseline
    yield f"<h2>Against the last build</h2><p class='quiet'>{text(before.name)}</p>"
    yield _findings(judged.findings, len(judged.findings))


def _flips(report: Report, faces: np.ndarray | None) -> Iterable[str]:
    flips, answers = report.answers.flips(), report.answers
    yield f"<p>{len(flips):,} of {len(answers.labels):,} labels changed.</p>"
    if not len(flips):
        return
    worst = flips[:WORST_FLIPS]
    if faces is None:
        yield "<p class='quiet'>No face is shown: --thumbnails shows the worst.</p>"
    else:
        yield f"<img alt='the {len(worst)} faces whose answers moved furthest' src='{contact_sheet(faces[worst])}'>"
    names = (*answers.label_names, "none")  # -1 is the last
    yield table(["worst first", "label", "reference", "engine"], [
        [report.image_names[i], names[answers.labels[i]], names[answers.said_reference[i]],
         names[answers.said_engine[i]]] for i in worst.tolist()])


def _origin(report: Report) -> dict[str, object]:
    facts = report.graph_facts
    return {"graph": f"{facts['graph']}, {facts['bytes']:,} bytes", "SHA-256": facts["sha256"],
            "target": report.target, **{f"reference: {k}": v for k, v in report.reference.items()},
            **{f"data: {k}": v for k, v in report.data.items()},
            **{f"made with: {k}": v for k, v in report.made_on.items()}}
