"""A run as one HTML page: recipe, data, curves, confusion, recall, calibration. No script, no link, one file.

Light or dark as the reader's system is. Measures nothing: what was not measured is said to be absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from train.expression.figures_folder import calibrations_of
from train.expression.html_page import facts_table, html_page, percent, table, text
from train.expression.pictures.confusion import draw_confusion
from train.expression.pictures.reliability import draw_reliability
from train.expression.pictures.style import as_svg
from train.expression.pictures.training_curves import draw_training_curves
from train.expression.run_history import RunHistory


def report_page(run: RunHistory, report: dict[str, Any] | None) -> str:
    """Return the page of a run; report: what `evaluate` says of its best weights, None where nobody measured them."""
    facts, kept = run.facts, run.kept
    done = len(run.epochs)
    parts = [
        f"<h1>{text(run.name)}</h1>",
        f"<p class='quiet'>{text(facts['network'])} on {text(facts['data']['name'])}: epoch {kept.number} kept of "
        f"{done} trained ({run.recipe.epochs} planned), {_duration(run.seconds)}</p>",
        *(_measured(report) if report else [
            f"<p>Held out ({text(run.held_out_name)}): accuracy {percent(kept.held_out)}. Nothing else was measured: "
            "<code>mien report RUN --data PATH</code> does.</p>"]),
        "<h2>Training</h2>", as_svg(draw_training_curves(run), "curves"),
        *(_answers(report) if report else []),
        "<h2>Recipe</h2>", facts_table(_flat(facts["recipe"])),
        "<h2>Where it came from</h2>", facts_table(_origin(run, report)),
    ]
    return html_page(f"{run.name}: a training run", parts)


def _measured(report: dict[str, Any]) -> Iterable[str]:
    """Yield the table of figures, one row a split, and what it leaves out."""
    views = report["views"]
    heads = ["split", "images", "accuracy", "95 % interval", *([f"{views} views"] if views != "single" else []),
             "without copies", "macro-F1", "NLL", "ECE", *(["NLL after", "ECE after"] if report["temperature"] else [])]
    rows = []
    for split, entry in report["splits"].items():
        own, after = entry.get("without_training_copies"), entry.get("calibration_after")
        rows.append([split, f"{entry['images']:,}", percent(entry["accuracy"]),
                     "–".join(percent(share, "") for share in entry["interval_95"]) + " %",
                     *([percent(entry["averaged"]["accuracy"])] if views != "single" else []),
                     f"{percent(own['accuracy'])} of {own['images']:,}" if own else "not known",
                     f"{entry['macro_f1']:.3f}", f"{entry['calibration']['nll']:.3f}",
                     percent(entry["calibration"]["ece"]),
                     *([f"{after['nll']:.3f}", percent(after["ece"])] if after else [])])
    yield table(heads, rows)
    notes = ["Single view unless said otherwise."]
    if any("without_training_copies" in entry for entry in report["splits"].values()):
        notes.append("“Without copies” leaves out faces whose pixels also stand, exactly, in the training set: a "
                     "network has seen those.")
    fitted = report["temperature"]
    notes.append(f"“After” divides the logits by one temperature, {fitted['single']:.3f}, fitted on "
                 f"{fitted['fitted_on']}." if fitted else
                 "No temperature was fitted: the data set has no part to fit it on.")
    if report["data"]["left_out"]:
        notes.append(f"{report['data']['left_out']} images are left out: the network has no word for their emotion.")
    yield f"<p class='quiet'>{text(' '.join(notes))}</p>"


def _answers(report: dict[str, Any]) -> Iterable[str]:
    """Yield, for each split, confusion, recall and calibration."""
    labels = report["labels"]
    for number, (split, entry) in enumerate(report["splits"].items()):
        confusion = np.array(entry["confusion"])
        title = f"accuracy {percent(entry['accuracy'])}"
        yield f"<h2>{text(split)}</h2>\n<div class='pair'>"
        yield as_svg(draw_confusion(confusion, labels, title), f"confusion{number}")
        yield as_svg(draw_reliability(calibrations_of(entry), "How sure, how often right"), f"reliability{number}")
        yield "</div>\n<h3>Recall</h3>"
        rows = []
        for label, images in zip(labels, confusion.sum(axis=1).tolist()):
            recall = entry["recall"][label]
            bar = "" if recall is None else f"<span class='bar' style='width:{6 * recall:.2f}rem'></span>"
            rows.append(f"<tr><td>{text(label)}</td><td>{images:,}</td><td style='text-align:left'>{bar}"
                        f"{'no images' if recall is None else percent(recall)}</td></tr>")
        yield ("<div class='wide'><table><tr><th>class</th><th>images</th><th style='text-align:left'>recall</th></tr>"
               + "".join(rows) + "</table></div>")


def _origin(run: RunHistory, report: dict[str, Any] | None) -> dict[str, Any]:
    facts, data = run.facts, run.facts["data"]
    origin = {"data": data["name"], "data SHA-256": data["sha256"], "training images": f"{data['training_images']:,}",
              "weights SHA-256": facts["sha256"], "PyTorch": facts.get("torch", "not recorded"),
              "command": facts.get("command"), "started from": facts.get("started_from"),
              "teachers": facts.get("teachers"), "people on both sides": data.get("shared_people")}
    if report:
        if report["data"]["sha256"] != data["sha256"]:
            origin["measured on data SHA-256"] = report["data"]["sha256"]
        origin["parameters"] = f"{report['network']['parameters']:,}"
        origin |= {f"measured with: {key}": value for key, value in report.get("made_on", {}).items()}
    return {key: value for key, value in origin.items() if value not in (None, "")}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted keys, as a recipe's YAML would name them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
