"""Events of a stream → one HTML page: what the monitor saw over time, and every alarm. Inline SVG, no script.

Knows only the `drift` events; the other lines of a file are passed over.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

from runtime.drift.chart import Line, chart
from runtime.errors import BadInput

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --quiet: #667085; --rule: #d5d9e0; --bad: #b42318; --paper: #fff }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ec; --quiet: #98a2b3; --rule: #344054; --bad: #f97066; --paper: #101418 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { text-align: left;
  padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--rule) }
svg { width: 100%; height: auto; color: var(--ink) } .quiet { color: var(--quiet) } .bad { color: var(--bad) }
code { overflow-wrap: anywhere }
"""
MEANS: dict[str, tuple[str, Callable[[float], str]]] = {
    "agreement": ("labels as FP32", lambda v: f"{100 * v:.1f} %"), "kl": ("mean KL, nats", lambda v: f"{v:.2g}"),
    "confidence_shift": ("confidence, engine minus FP32", lambda v: f"{v:+.4f}")}
PER_QUANTITY: dict[str, tuple[str, float]] = {
    "evidence": ("Evidence, 1 alarms", 1.0), "stability": ("Stability index, above 0.25 another population", 0.25)}


@dataclass(frozen=True)
class DriftEvent:
    """One `drift` event: when, in which run of the program, its number, and the status it holds."""

    when: datetime
    run: str
    seq: int
    values: dict[str, Any]


def read_events(paths: Sequence[Path]) -> list[DriftEvent]:
    """Return the drift events of files, rotated ones too, in order; a torn last line is passed over.

    Raises BadInput for a file that cannot be read or holds other lines than events, and where no drift event is found.
    """
    found = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise BadInput(f"expected a file of events, found {path}: {error.strerror}; check the path") from error
        for number, line in enumerate(lines, 1):
            try:
                found += _drift_event(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if number == len(lines):  # a power cut, or a stream that writes just now
                    continue
                raise BadInput(f"expected events in {path}, found something else in line {number}; give files that "
                               "a stream wrote") from error
    if not found:
        raise BadInput(f"expected drift events in {', '.join(str(p) for p in paths)}, found none; a stream writes one "
                       "every ten minutes with faces")
    return _in_order({(event.run, event.seq): event for event in found}.values())  # a file may be given twice


def _in_order(events: Collection[DriftEvent]) -> list[DriftEvent]:
    """Order runs by their numbers, which no clock changes; by time where somebody removed events, and they begin anew.

    Within a run the numbers rise in any case: a board without a clock of its own may set it at any time.
    """
    runs: dict[str, list[DriftEvent]] = {}
    for event in events:
        runs.setdefault(event.run, []).append(event)
    spans = sorted((min(e.seq for e in own), max(e.seq for e in own)) for own in runs.values())
    apart = all(before[1] < after[0] for before, after in pairwise(spans))
    begins = {run: min(e.seq if apart else e.when.timestamp() for e in own) for run, own in runs.items()}
    return sorted(events, key=lambda event: (begins[event.run], event.run, event.seq))


def disagreement(events: Sequence[DriftEvent]) -> str:
    """Return a line where runs in order go back in time: a clock was wrong, or events were purged; else ''."""
    begins = [event.when for before, event in pairwise([None, *events]) if event and (
        before is None or before.run != event.run)]
    back = any(after < before for before, after in pairwise(begins))
    return ("the runs' times are not in the order of their events' numbers, which is taken here: a clock was wrong; "
            "but if events were purged in between, numbers began anew: give each part's files alone" if back else "")


def _drift_event(values: Any) -> list[DriftEvent]:
    """Return one event, or none for another kind. Raises KeyError, TypeError, ValueError."""
    if values["event"] != "drift":
        return []
    texts = (values["alarm"], values["state"], values["compared_with"], values["run"], values["time"])
    numbers = [values["samples"], values["seq"]] + [values[name] for name in MEANS if values[name] is not None]
    if not isinstance(values["quantities"], dict):
        raise TypeError("another kind of drift event")
    for facts in values["quantities"].values():
        numbers += [facts[name] for name in ("samples", "last", "stability", "evidence", "alarms")]
    if not all(isinstance(text, str) for text in texts) or not all(map(math.isfinite, numbers)):
        raise TypeError("another kind of drift event")
    when = datetime.fromisoformat(values["time"].replace("Z", "+00:00"))
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    return [DriftEvent(when, values["run"], values["seq"], values)]


def page(events: Sequence[DriftEvent]) -> str:
    """Return the page of events in order, verdict first."""
    last, times = events[-1].values, [e.when for e in events]
    begin = [e for e, before in zip(events, [None, *events]) if e.values["alarm"] and (
        before is None or before.values["alarm"] != e.values["alarm"])]
    standing = str(last["alarm"])
    verdict = (f"<p class='bad'>{_text(standing)}</p>" if standing
               else f"<p>No alarm stands ({_text(last['state'])}).</p>")
    parts = [
        f"<h1>Drift, {min(times):%Y-%m-%d %H:%M} – {max(times):%Y-%m-%d %H:%M} UTC</h1>", verdict,
        f"<p class='quiet'>{len(events)} events of {len({e.run for e in events})} runs; compared with: "
        f"{_text(last['compared_with'])}; precision {_text(last.get('precision', '?'))}. A false alarm is as rare as "
        "<code>drift.false_alarms_per_month</code> says, if the samples are of different people.</p>",
        f"<p>{_text(disagreement(events))}</p>", "<h2>Alarms</h2>", _alarms(begin), "<h2>Against FP32</h2>"]
    parts += [chart(title, [_line(events, name)], form) for name, (title, form) in MEANS.items()]
    for name, (title, mark) in PER_QUANTITY.items():
        quantities = [q for q, facts in last["quantities"].items() if facts["samples"]]
        lines = [_line(events, name, q) for q in quantities]
        parts += [f"<h2>{title}</h2>", chart(title, lines, "{:.2f}".format, mark)]
    parts += ["<h2>Last</h2>", _table(last)]
    head = ("<!doctype html>\n<html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
            f"<title>Drift</title><style>{STYLE}</style>")
    return "\n".join([head, *parts, "</html>\n"])


def _line(events: Sequence[DriftEvent], name: str, quantity: str = "") -> Line:
    """Return a mean, or a number of one quantity, over time; broken where a run ended or nothing was known."""
    points: list[tuple[float, float | None]] = []
    for before, event in pairwise([None, *events]):
        if before is not None and event is not None and before.run != event.run:
            points.append((event.when.timestamp(), None))
        if event is not None:
            of = event.values["quantities"].get(quantity, {}) if quantity else event.values
            points.append((event.when.timestamp(), of.get(name)))
    return Line(quantity or name, tuple(points))


def _alarms(events: Iterable[DriftEvent]) -> str:
    rows = [f"<tr><td>{e.when:%Y-%m-%d %H:%M}<td>{e.values['samples']}<td>{_text(e.values['alarm'])}" for e in events]
    if not rows:
        return "<p>None.</p>"
    return "<table><tr><th>began, UTC<th>after samples<th>what" + "".join(rows) + "</table>"


def _table(last: dict[str, Any]) -> str:
    rows = [f"<tr><td>{_text(name)}<td>{facts['samples']}<td>{facts['last']:.4g}<td>{facts['stability']:.3f}"
            f"<td>{facts['evidence']:.2f}<td>{facts['alarms']}" for name, facts in last["quantities"].items()]
    return ("<table><tr><th>quantity<th>samples<th>last<th>stability<th>evidence<th>alarms" + "".join(rows)
            + "</table>")


def _text(value: object) -> str:
    return html.escape(str(value))
