"""A site → Prometheus: whom it asks, and the rules that wake somebody. The metrics are `runtime/sinks/metrics.py`'s.

Written as JSON, which YAML is a superset of. Knows nothing of who is woken: that is Alertmanager's.
https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from export.fleet.site import Site

RULES = "mien-alerts.yml"


@dataclass(frozen=True)
class Alert:
    """One rule: what must hold, for how long, how bad it is, what it means and what to do."""

    name: str
    expression: str
    lasts: str
    severity: str
    means: str
    do: str


def alerts(site: Site) -> tuple[Alert, ...]:
    """Return every rule."""
    quiet = f"{site.quiet_hours}h"
    return (
        Alert("MienKioskAway", 'up{job="mien"} == 0', "5m", "critical", "nobody answers at its metrics address",
              "look at power and network, then journalctl -u mien-kiosk"),
        Alert("MienCameraDown", "mien_camera_up == 0", "2m", "critical", "the camera delivers nothing",
              "look at its cable; docs/reliability.md says what the stream has tried"),
        Alert("MienNoFrames", "rate(mien_frames_total[5m]) == 0 and mien_camera_up == 1", "5m", "critical",
              "frames stand still though the camera does not", "read journalctl -u mien-kiosk"),
        Alert("MienNoEvents", f"increase(mien_faces_total[{quiet}]) == 0 and mien_uptime_seconds > "
              f"{site.quiet_hours * 3600}", "15m", "warning", f"no face and so no event for {quiet}",
              "look where the camera points, and whether somebody covered it"),
        Alert("MienEventsLost", "increase(mien_events_lost_total[1h]) > 0 or increase(mien_mqtt_dropped_total[1h]) > 0",
              "0m", "warning", "events were lost on the disk or on the way to the broker",
              "look at the disk's room and the broker"),
        Alert("MienDrift", "mien_drift_alarm == 1", "1m", "warning",
              "the engine departs from FP32, or the camera sees what was not calibrated on",
              "read docs/drift.md: check the engine first, then recalibrate"),
        Alert("MienDriftUnwatched", "mien_drift_failed == 1", "5m", "warning", "the drift monitor stopped",
              "read journalctl -u mien-kiosk for its last words"),
        Alert("MienThrottled", "mien_throttled == 1 or increase(mien_throttle_events_total[15m]) > 0", "5m", "warning",
              "heat or current slows the board", "look at its fan, its supply and its power mode"),
        Alert("MienDegraded", 'mien_health{state="degraded"} == 1', "15m", "warning",
              "expressions are read, but something else is wrong", "ask /readyz there, which names it"),
        Alert("MienRestarts", "resets(mien_uptime_seconds[1h]) > 2", "0m", "warning",
              "the stream restarts again and again", "read journalctl -u mien-kiosk"))


def rules_text(site: Site) -> str:
    """Return the rules file."""
    rules = [{"alert": each.name, "expr": each.expression, "for": each.lasts, "labels": {"severity": each.severity},
              "annotations": {"summary": "{{ $labels.kiosk }}: " + each.means, "description": each.do}}
             for each in alerts(site)]
    return _text({"groups": [{"name": "mien", "rules": rules}]})


def prometheus_text(site: Site) -> str:
    """Return Prometheus's configuration, each kiosk under its name."""
    asked = [{"targets": [_target(kiosk.address, site.metrics_port)],
              "labels": {"site": site.name, "kiosk": kiosk.name}} for kiosk in site.kiosks]
    return _text({"global": {"scrape_interval": "15s", "evaluation_interval": "15s"}, "rule_files": [RULES],
                  "scrape_configs": [{"job_name": "mien", "static_configs": asked}]})


def _target(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _text(values: object) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
