"""The kiosks of all sites on one page of Grafana, from `runtime/sinks/metrics.py`. No picture, and no face.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
Unverified: no Grafana was here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CHOSEN = 'site=~"$site",kiosk=~"$kiosk"'
WIDTH, HEIGHT = 12, 8  # of a panel, in Grafana's grid of 24 columns


@dataclass(frozen=True)
class Panel:
    """One panel: title, unit in Grafana's words, and expressions with their legends; CHOSEN takes the place of @."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


PANELS = (
    Panel("Kiosks that answer", "short", (('up{job="mien",@}', "{{kiosk}}"),), "stat"),
    Panel("Cameras that deliver", "short", (("mien_camera_up{@}", "{{kiosk}}"),), "stat"),
    Panel("Health", "short", (("mien_health{@} == 1", "{{kiosk}} {{state}}"),), "state-timeline"),
    Panel("Frames a second", "short", (("rate(mien_frames_total{@}[5m])", "{{kiosk}}"),)),
    Panel("Faces an hour", "short", (("increase(mien_faces_total{@}[1h])", "{{kiosk}}"),)),
    Panel("Expressions an hour", "short",
          (("sum by (label) (increase(mien_expressions_total{@}[1h]))", "{{label}}"),)),
    Panel("From capture to the last sink, p99", "s",
          (('mien_frame_age_seconds{quantile="0.99",@}', "{{kiosk}}"),)),
    Panel("Stages, p95", "s", (('mien_stage_seconds{quantile="0.95",@}', "{{kiosk}} {{stage}}"),)),
    Panel("Drift: evidence of an alarm", "percentunit",
          (("mien_drift_evidence{@}", "{{kiosk}} {{quantity}}"), ("mien_drift_alarm{@}", "{{kiosk}} alarm"))),
    Panel("Lost an hour", "short",
          (("increase(mien_events_lost_total{@}[1h])", "{{kiosk}} events"),
           ("increase(mien_mqtt_dropped_total{@}[1h])", "{{kiosk}} messages"),
           ("increase(mien_damaged_frames_total{@}[1h])", "{{kiosk}} damaged frames"))),
    Panel("Heat", "celsius", (("mien_hottest_celsius{@}", "{{kiosk}}"),
                              ("mien_throttled{@} * 100", "{{kiosk}} throttled"))),
    Panel("Resident memory", "bytes", (("mien_resident_memory_bytes{@}", "{{kiosk}}"),)),
)


def dashboard_text() -> str:
    """Return the dashboard for Grafana's import, which asks for the Prometheus it shall show."""
    source = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
    return json.dumps({
        "__inputs": [{"name": "DS_PROMETHEUS", "label": "Prometheus", "type": "datasource", "pluginId": "prometheus",
                      "pluginName": "Prometheus"}],
        "uid": "mien-fleet", "title": "mien: kiosks", "tags": ["mien"], "schemaVersion": 39, "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"}, "editable": True,
        "templating": {"list": [_variable(name, source) for name in ("site", "kiosk")]},
        "panels": [_panel(number, panel, source) for number, panel in enumerate(PANELS)]}, indent=2) + "\n"


def _variable(name: str, source: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": "query", "datasource": source, "query": f"label_values(mien_uptime_seconds, {name})",
            "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"}}


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, 24 // WIDTH)
    return {"id": number + 1, "type": panel.kind, "title": panel.title, "datasource": source,
            "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "targets": [{"refId": chr(ord("A") + place), "datasource": source, "legendFormat": legend,
                         "expr": expression.replace("@", CHOSEN)}
                        for place, (expression, legend) in enumerate(panel.queries)]}
