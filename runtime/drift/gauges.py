"""A monitor's status → named numbers for Prometheus. Knows nothing of its client library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STATES = {"alarm": "1 while an alarm of drift stands", "failed": "1 where the drift monitor stopped"}
LEARNING = "1 while a quantity's baseline is being learned: nothing of it alarms yet"
MEANS = {"agreement": "Share of the last samples whose label is FP32's",
         "kl": "Mean KL divergence of the last samples from FP32, nats",
         "confidence_shift": "Mean change of the FP32 label's probability, engine minus FP32"}
COUNTS = {"samples": "Faces compared with FP32", "dropped": "Faces that the monitor had no time for",
          "cpu_seconds": "Processor seconds of the monitor"}
QUANTITIES = {"stability": "Population stability index of the last samples; above 0.25 is another population",
              "evidence": "How much of the way to an alarm the evidence has gone, 0–1",
              "alarming": "1 while an alarm stands", "last": "The last sample's value"}


@dataclass(frozen=True)
class Gauge:
    """One family: name, what it is, and its values by the quantity they are of; '' stands for no label."""

    name: str
    text: str
    values: dict[str, float]


def gauges_of(status: Mapping[str, Any]) -> Iterator[Gauge]:
    """Yield every gauge of a status; none where the monitor is off, its state alone where it did not start."""
    if status.get("state", "off") == "off":
        return
    for state, text in STATES.items():
        yield Gauge(f"mien_drift_{state}", text, {"": float(status["state"] == state)})
    if "quantities" not in status:
        return
    yield Gauge("mien_drift_learning", LEARNING,
                {of: float(facts["learning"]) for of, facts in status["quantities"].items()})
    for name, text in COUNTS.items():
        yield Gauge(f"mien_drift_{name}", text, {"": float(status[name])})
    for name, text in MEANS.items():
        if status[name] is not None:
            yield Gauge(f"mien_drift_{name}", text, {"": float(status[name])})
    seen = {name: facts for name, facts in status["quantities"].items() if facts["samples"]}
    for name, text in QUANTITIES.items():
        yield Gauge(f"mien_drift_{name}", text, {of: float(facts[name]) for of, facts in seen.items()})
