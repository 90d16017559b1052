"""A run as one HTML page: recipe, data, curves, confusion, recall, calibration. No script, no link, one file.

Light or dark as the reader's system is. Measures nothing: what was not measured is said to be absent.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from train.expression.figures_folder import calibrations_of
from train.expression.pictures.confusion import draw_confusion
from train.expression.pictures.reliability import draw_reliability
from train.expression.pictures.style import as_svg
from train.expression.pictures.training_curves import draw_training_curves
from train.expression.run_history import RunHistory

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #24292f; --quiet: #59636e; --line: #d1d9e0; --bar: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --ink: #e6e8eb; --quiet: #9aa4ae; --line: #343b42; --bar: #56b4e9; }
}
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; } .quiet { color: var(--quiet); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--quiet); }
th, td { white-space: nowrap; } table.facts td { text-align: left; white-space: normal; }
table.facts td:first-child { color: var(--quiet); }
.wide { overflow-x: auto; } code { font-size: .88em; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .65em; background: var(--bar); margin-right: .5em; }
svg { max-width: 100%; height: auto; display: block; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; } .pair > * { flex: 1 1 26rem; min-width: 0; }
"""


def report_page(run: RunHistory, report: dict[str, Any] | None) -> str:
    """Return the page of a run; report: what `evaluate` says of its best weights, None where nobody measured them."""
    facts, kept = run.facts, run.kept
    done = len(run.epochs)
    parts = [
        f"<h1>{_text(run.name)}</h1>",
        f"<p class='quiet'>{_text(facts['network'])} on {_text(facts['data']['name'])}: epoch {kept.number} kept of "
        f"{done} trained ({run.recipe.epochs} planned), {_duration(run.seconds)}</p>",
        *(_measured(report) if report else [
            f"<p>Held out ({_text(run.held_out_name)}): accuracy {_percent(kept.held_out)}. Nothing else was measured: "
            "<code>mien report RUN --data PATH</code> does.</p>"]),
        "<h2>Training</h2>", as_svg(draw_training_curves(run), "curves"),
        *(_answers(report) if report else []),
        "<h2>Recipe</h2>", _facts_table(_flat(facts["recipe"])),
        "<h2>Where it came from</h2>", _facts_table(_origin(run, report)),
    ]
    return ("<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
            f"<title>{_text(run.name)}: a training run</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(parts) + "\n</body>\n</html>\n")


def _measured(report: dict[str, Any]) -> Iterable[str]:
    """Yield the table of figures, one row a split, and what it leaves out."""
    views = report["views"]
    heads = ["split", "images", "accuracy", "95 % interval", *([f"{views} views"] if views != "single" else []),
             "without copies", "macro-F1", "NLL", "ECE", *(["NLL after", "ECE after"] if report["temperature"] else [])]
    rows = []
    for split, entry in report["splits"].items():
        own, after = entry.get("without_training_copies"), entry.get("calibration_after")
        rows.append([split, f"{entry['images']:,}", _percent(entry["accuracy"]),
                     "–".join(_percent(share, "") for share in entry["interval_95"]) + " %",
                     *([_percent(entry["averaged"]["accuracy"])] if views != "single" else []),
                     f"{_percent(own['accuracy'])} of {own['images']:,}" if own else "not known",
                     f"{entry['macro_f1']:.3f}", f"{entry['calibration']['nll']:.3f}",
                     _percent(entry["calibration"]["ece"]),
                     *([f"{after['nll']:.3f}", _percent(after["ece"])] if after else [])])
    yield _table(heads, rows)
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
    yield f"<p class='quiet'>{_text(' '.join(notes))}</p>"


def _answers(report: dict[str, Any]) -> Iterable[str]:
    """Yield, for each split, confusion, recall and calibration."""
    labels = report["labels"]
    for number, (split, entry) in enumerate(report["splits"].items()):
        confusion = np.array(entry["confusion"])
        title = f"accuracy {_percent(entry['accuracy'])}"
        yield f"<h2>{_text(split)}</h2>\n<div class='pair'>"
        yield as_svg(draw_confusion(confusion, labels, title), f"confusion{number}")
        yield as_svg(draw_reliability(calibrations_of(entry), "How sure, how often right"), f"reliability{number}")
        yield "</div>\n<h3>Recall</h3>"
        rows = []
        for label, images in zip(labels, confusion.sum(axis=1).tolist()):
            recall = entry["recall"][label]
            bar = "" if recall is None else f"<span class='bar' style='width:{6 * recall:.2f}rem'></span>"
            rows.append(f"<tr><td>{_text(label)}</td><td>{images:,}</td><td style='text-align:left'>{bar}"
                        f"{'no images' if recall is None else _percent(recall)}</td></tr>")
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


def _facts_table(facts: dict[str, Any]) -> str:
    rows = "".join(f"<tr><td>{_text(k)}</td><td><code>{_text(v)}</code></td></tr>" for k, v in facts.items())
    return f"<div class='wide'><table class='facts'>{rows}</table></div>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{_text(text)}</td>" for text in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _text(value: object) -> str:
    return html.escape(str(value))


def _percent(share: float, unit: str = " %") -> str:
    return f"{100 * share:.1f}{unit}"


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
