"""A calibration as one HTML page: what INT8 cost, the faces it saw, every range, every layer. One file, no script.

Light or dark as the reader's system is. Measures nothing: what was not measured is said to be absent. Faces stand in it
only where the caller hands them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.clipping import clipped_share
from calibration.ranges import scale_of
from export.int8.calibration_pictures import contact_sheet, draw_histograms, draw_layers, share_text
from export.int8.find_mix import doubts
from export.int8.measure_int8 import Int8Figures
from runtime.card import Model
from runtime.histogram import Histogram
from train.expression.html_page import facts_table, html_page, percent, table, text
from train.expression.pictures.style import as_svg

_FORMS = {"int8": "int8.onnx, as ONNX Runtime runs it", "int8-gpu": "int8-gpu.onnx, each node as it is written"}
_QUALITIES = {"brightness": "brightness, 0–255", "contrast": "contrast (standard deviation)",
              "sharpness": "sharpness (variance of the Laplacian)"}


@dataclass(frozen=True)
class Calibration:
    """All that a page shows. histograms: by tensor, of `ranges.hist`; readers: the layers that read each tensor.

    faces: (N, C, H, W) uint8 for the contact sheet, or None, and then `no_faces` says why. coverage: that of
    images.json where there is a list. measured: None without held-out faces. made_on: machine and versions.
    """

    model: Model
    histograms: Mapping[str, Histogram]
    readers: Mapping[str, tuple[str, ...]]
    coverage: dict[str, Any] | None
    faces: np.ndarray | None
    no_faces: str
    measured: Int8Figures | None
    command: str
    made_on: dict[str, str]


def calibration_page(found: Calibration) -> str:
    """Return the page of a calibrated model."""
    card, facts = found.model.card, found.model.card.calibration
    how = facts["method"] + (f" {facts['percentile']!r}" if facts["percentile"] is not None else "")
    parts = [
        f"<h1>{text(card.name)} in INT8</h1>",
        f"<p class='quiet'>{text(card.network)}, calibrated on {facts['images']:,} faces of {text(_where_from(facts))}"
        f"; ranges by {text(how)}; {facts['quantized_nodes']} layers in INT8, {len(facts['kept_float'])} kept float"
        "</p>",
        *_verdict(found),
        *_warnings(facts),
        "<h2>The faces it was calibrated on</h2>", *_faces(found),
        "<h2>Ranges</h2>", *_ranges(found),
        *(_layers(found.model, found.measured) if found.measured else []),
        "<h2>Where it came from</h2>", facts_table(_origin(found)),
    ]
    return html_page(f"{card.name}: a calibration", parts)


def _where_from(facts: dict[str, Any]) -> str:
    source = facts["images_from"]
    name = " ".join(str(source[key]) for key in ("name", "split") if key in source)
    merged = source.get("merged", [])
    return " and ".join(([name] if name else []) + ([f"{len(merged)} files of histograms"] if merged else []))


def _verdict(found: Calibration) -> Iterable[str]:
    """Yield what INT8 cost, in a sentence and a table; the files' sizes are known without measuring."""
    measured, graphs = found.measured, found.model.card.graphs
    before, after = (graphs[graph].bytes / 1e6 for graph in ("fp32", "int8"))
    small = f"int8.onnx is {after:.2f} MB, {100 * after / before:.0f} % of fp32.onnx’s {before:.2f} MB."
    if measured is None:
        yield f"<p class='verdict'>Accuracy was not measured. {text(small)}</p>"
        yield ("<p class='quiet'>What INT8 costs is measured on FER2013’s PublicTest: <code>mien calibrate --report "
               "FILE --held-out PATH</code>.</p>")
        return
    yield f"<p class='verdict'>{text(_sentence(measured))} {text(small)}</p>"
    rows = [["FP32", percent(measured.fp32_accuracy), _interval(measured.fp32_interval), "", "", "", "", "", "",
             f"{graphs['fp32'].bytes / 1e6:.2f} MB"]]
    for form in measured.forms:
        c = form.comparison
        rows.append([_FORMS[form.graph], percent(c.accuracy_engine), _interval(form.interval),
                     _points(c.accuracy_drop), " to ".join(map(_points, reversed(form.lost_interval))),
                     f"{form.lost} / {form.won}", _fine(c.agreement), f"{c.mean_kl:.5f}", f"{c.worst_kl:.3f}",
                     f"{graphs[form.graph].bytes / 1e6:.2f} MB"])
    yield table(["graph", "accuracy", "95 % interval", "points", "95 % interval", "lost / won", "agreement", "KL mean",
                 "worst", "file"], rows)
    notes = [f"{measured.images:,} faces of {_name(measured.held_out)}, single view, on this machine’s CPU; KL in "
             "nats, FP32’s answers against INT8’s. An accuracy’s interval is Wilson’s; that of the points is paired "
             "(Newcombe’s method 10), for the same faces were answered. “Lost” were right in FP32 and are wrong in "
             "INT8, “won” the reverse."]
    broken = sum(form.comparison.non_finite for form in measured.forms)
    if broken:
        notes.append(f"{broken} answers were not finite and count as wrong.")
    yield f"<p class='quiet'>{text(' '.join(notes))}</p>"


def _sentence(measured: Int8Figures) -> str:
    """Return the verdict on the form that costs more: both ship."""
    form = max(measured.forms, key=lambda form: form.comparison.accuracy_drop)
    drop, budget = form.comparison.accuracy_drop, measured.sensitivity.budget
    change = f"costs {drop:.2f}" if drop >= 0 else f"wins {-drop:.2f}"
    kept = "within" if drop <= budget else "more than"
    return (f"{form.graph}.onnx {change} points of accuracy, {kept} the {budget:g} it may cost: "
            f"{percent(measured.fp32_accuracy)} → {percent(form.comparison.accuracy_engine)}; "
            f"{percent(form.comparison.agreement)} of labels stay.")


def _warnings(facts: dict[str, Any]) -> Iterable[str]:
    if facts["warnings"]:
        yield "<h2>Warnings</h2><ul>" + "".join(f"<li>{text(line)}</li>" for line in facts["warnings"]) + "</ul>"
    if facts["kept_float"]:
        yield ("<h2>Layers kept float</h2><p>" + ", ".join(f"<code>{text(name)}</code>" for name in facts["kept_float"])
               + "</p>\n<p class='quiet'>Half precision in int8-gpu.onnx, float32 in int8.onnx: named by --keep-float, "
                 "or part of an attention gate.</p>")


def _faces(found: Calibration) -> Iterable[str]:
    """Yield the contact sheet, or why there is none, and how the list covers the set."""
    if found.faces is None:
        yield f"<p>{text(found.no_faces)}</p>"
    else:
        listed = found.model.card.calibration["images"]
        yield (f"<img alt='contact sheet of {len(found.faces)} calibration faces' "
               f"src='{contact_sheet(found.faces)}'>")
        yield (f"<p class='quiet'>{len(found.faces):,} of the {listed:,} listed faces, evenly over the list, as the "
               "network gets them.</p>")
    if found.coverage is None:
        return
    report = found.coverage
    quantiles = list(report["brightness"]["set"])
    yield f"<h3>How the {report['list']:,} stand for the {report['set']:,} they were chosen from</h3>"
    yield table(["quantile", "", *(f"{100 * float(q):g} %" for q in quantiles)],
                [[named if which == "list" else "", which, *(f"{report[key][which][q]:,.0f}" for q in quantiles)]
                 for key, named in _QUALITIES.items() for which in ("list", "set")])
    if "classes" in report:
        classes = report["classes"]
        yield "<h3>Classes</h3>" + table(["", *classes["set"]], [
            [which, *(percent(share) for share in classes[which].values())] for which in ("list", "set")])
    if "feature_distance" in report:
        apart = report["feature_distance"]
        yield (f"<p>From a face of the set to the nearest listed one, in the FP32 network’s features: median "
               f"{apart['to_nearest']['0.5']:.2f}, 99 % within {apart['to_nearest']['0.99']:.2f}, at most "
               f"{apart['largest']:.2f}; a face’s typical distance from the mean is "
               f"{apart['typical_from_mean']:.2f}.</p>")
    else:
        yield "<p class='quiet'>Distances in the network’s features were not measured: --coverage does.</p>"


def _ranges(found: Calibration) -> Iterable[str]:
    thresholds = found.model.card.calibration["thresholds"]
    exact = found.model.card.calibration.get("exact_pixels")
    limits = {name: max(thresholds[name], h.largest) if name == exact else thresholds[name]
              for name, h in found.histograms.items()}
    yield as_svg(draw_histograms(found.histograms, limits), "histograms")
    yield ("<p class='quiet'>Magnitudes of what each quantized layer reads, over all calibration faces. The line is "
           "the threshold, the value of integer 127; what lies beyond, in red, is clipped to it. Exact zeros count in "
           "the shares and are not drawn.</p>")
    if exact:
        yield (f"<p class='quiet'>{text(exact)} holds scaled pixels; its integers are the grey levels themselves: "
               "nothing is rounded or clipped there, but that black or white may count as the level beside it.</p>")
    rows = []
    for name, histogram in found.histograms.items():
        threshold = thresholds[name]
        rows.append([name, ", ".join(found.readers.get(name, ())), f"{histogram.minimum:.3g}",
                     f"{histogram.maximum:.3g}", percent(histogram.zeros / histogram.total), f"{threshold:.4g}",
                     f"{scale_of(threshold):.4g}", share_text(clipped_share(histogram, limits[name]))])
    yield table(["tensor", "read by", "least", "largest", "zeros", "threshold", "scale", "clipped"], rows)


def _layers(model: Model, measured: Int8Figures) -> Iterable[str]:
    """Yield each layer's cost alone and the mix that keeps the budget."""
    found = measured.sensitivity
    mix = found.found.mix
    left = () if mix is None else mix.kept_float
    yield "<h2>Layer by layer</h2>"
    yield as_svg(draw_layers(found.layers, left), "layers")
    point = 100 / measured.layer_faces
    yield (f"<p class='quiet'>Each layer quantized alone, on {measured.layer_faces:,} of the {measured.images:,} faces "
           f"drawn at random: one face is {point:.2f} points there. <code>mien sensitivity</code> measures on all "
           "of them.</p>")
    yield table(["layer", "kind", "multiply-adds", "SQNR", "KL", "agreement", "points"], [
        [layer.name, layer.operator, f"{layer.multiply_adds / 1e6:.2f} M", f"{layer.sqnr:.1f} dB",
         f"{layer.cost.kl:.2g}", _fine(layer.cost.agreement), _points(layer.cost.accuracy_drop)]
        for layer in found.layers])
    yield f"<h3>A budget of {found.budget:g} points</h3>"
    if mix is None:
        yield "<p>No mix keeps it on these faces, not even one layer in INT8: take fp16, or other faces.</p>"
        return
    kept = (f"by leaving {', '.join(left)} in half precision (orange)" if left else "with every such layer in INT8")
    yield (f"<p>It is kept on these faces {text(kept)}: {percent(mix.int8_share)} of the multiply-adds in INT8, "
           f"accuracy {_points(mix.cost.accuracy_drop)} points, {_fine(mix.cost.agreement)} of labels stay.</p>")
    if left:
        yield f"<p><code>mien calibrate MODEL --images PATH --keep-float {text(' '.join(left))}</code></p>"
    yield from (f"<p>{text(said)}.</p>" for said in doubts(mix, model))


def _origin(found: Calibration) -> dict[str, Any]:
    card, facts = found.model.card, found.model.card.calibration
    source, files = facts["images_from"], facts.get("files", {})
    origin: dict[str, Any] = {"command": found.command}
    origin |= {f"{entry.file} SHA-256": entry.sha256 for entry in card.graphs.values()}
    origin |= {f"{entry['file']} SHA-256": entry["sha256"] for entry in files.values()}
    origin |= {"list SHA-256": source.get("list_sha256"), "listed pixels SHA-256": facts["images_sha256"],
               "choice": source.get("choice"), "seed": source.get("seed"),
               "calibration data": _name(source), "calibration data SHA-256": source.get("sha256")}
    origin |= {f"merged histograms SHA-256, {entry['images']:,} faces": entry["sha256"]
               for entry in source.get("merged", [])}
    if found.measured:
        origin |= {"measured on": _name(found.measured.held_out),
                   "measured on data SHA-256": found.measured.held_out.get("sha256")}
    origin |= {f"worst |Δlogit| allowed on golden faces, {graph}": bound for graph, bound in card.golden_bound.items()}
    origin |= {f"made with: {key}": value for key, value in found.made_on.items()}
    return {key: value for key, value in origin.items() if value not in (None, "")}


def _name(source: dict[str, Any]) -> str:
    return " ".join(str(source[key]) for key in ("name", "split") if source.get(key))


def _fine(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(drop: float) -> str:
    """Return a drop as the change that it is; no change has no minus."""
    return f"{round(-drop, 2) + 0.0:+.2f}"


def _interval(interval: tuple[float, float]) -> str:
    return "–".join(percent(share, "") for share in interval) + " %"
