"""An evaluation's report as lines for a terminal. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def as_text(report: dict[str, Any]) -> list[str]:
    """Return the lines of a report: the members of a mean first, then the network, or the mean, in full."""
    lines: list[str] = []
    for member in report.get("members", []):
        lines += [f"{member['network']['name']}, {line}" for line in _headlines(member, report["views"])]
    network = report["network"]
    if lines:
        lines.append(f"{network['name']}: {network['parameters']:,} parameters together")
    for line, entry in zip(_headlines(report, report["views"]), report["splits"].values()):
        lines.append(line)
        lines += _details(entry, network.get("card_temperature"))
    if report["data"]["left_out"]:
        lines.append(f"{report['data']['left_out']} images left out: the network has no word for their emotion")
    return lines


def _headlines(report: dict[str, Any], views: str) -> Iterable[str]:
    for split, entry in report["splits"].items():
        low, high = entry["interval_95"]
        averaged = f", {views} {_percent(entry['averaged']['accuracy'])}" if "averaged" in entry else ""
        yield (f"{split}: accuracy {_percent(entry['accuracy'])} ({100 * low:.1f}–{100 * high:.1f}){averaged}  "
               f"macro-F1 {entry['macro_f1']:.4f}  {entry['images']:,} images")


def _details(entry: dict[str, Any], card_temperature: float | None) -> Iterable[str]:
    own = entry.get("without_training_copies")
    if own:
        copies = entry["images"] - own["images"]
        yield f"  without {copies} exact copies of training images: {_percent(own['accuracy'])} of {own['images']:,}"
    yield "  recall  " + "  ".join(f"{name} {value:.3f}" for name, value in entry["recall"].items()
                                   if value is not None)
    for kind, of in (("single view", entry), ("averaged views", entry.get("averaged"))):
        if of is None:
            continue
        before, after = of["calibration"], of.get("calibration_after")
        text = f"  {kind}: NLL {before['nll']:.4f}, ECE {_percent(before['ece'])}"
        yield text + (f"; at temperature {after['temperature']:.3f}: NLL {after['nll']:.4f}, "
                      f"ECE {_percent(after['ece'])}" if after else "")
    if card_temperature is not None:
        yield f"  the card's own temperature is {card_temperature:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
