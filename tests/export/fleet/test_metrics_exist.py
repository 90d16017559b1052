"""No rule and no panel asks for a metric that a stream does not expose: a real one runs, and is asked."""

from __future__ import annotations

import json
import re
import socket
import urllib.request

import numpy as np
import pytest
from kiosk import endless_folder, start, wait_until, write_config

from export.fleet.alerts import alerts
from export.fleet.dashboard import PANELS, dashboard_text
from export.fleet.site import Site

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed (mien[metrics])")
pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed (mien[mqtt])")


@pytest.fixture(scope="module")
def exposed(face_photo: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every metric that a running stream names, with those of a face, of MQTT and of the drift monitor."""
    folder = tmp_path_factory.mktemp("stream")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = write_config(
        folder / "stream.yaml", source=endless_folder(folder / "frames", face_photo), target="cpu", threads=1,
        events=folder / "events.jsonl", metrics={"port": port}, mqtt={"host": "127.0.0.1", "port": 1})
    running = start(config)
    page = ""

    def whole() -> bool:
        nonlocal page
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                page = answer.read().decode()
        except OSError:
            return False
        return "mien_drift_evidence" in page and "mien_expressions_total{" in page

    try:
        wait_until(whole, running)
    finally:
        running.kill()
        running.communicate()
    return set(re.findall(r"^# TYPE (\S+)", page, flags=re.M))


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\bmien_\w+", expression))


def test_every_alert_asks_for_metrics_that_are_there(exposed: set[str], site: Site) -> None:
    asked = {each.name: metrics_in(each.expression) for each in alerts(site)}
    assert {name: found - exposed for name, found in asked.items() if found - exposed} == {}
    assert all(asked[name] for name in asked if name != "MienKioskAway")


def test_every_panel_asks_for_metrics_that_are_there(exposed: set[str]) -> None:
    asked = {panel.title: {name for query, _ in panel.queries for name in metrics_in(query)} for panel in PANELS}
    assert {title: found - exposed for title, found in asked.items() if found - exposed} == {}
    assert metrics_in(dashboard_text()) <= exposed


def test_the_dashboard_is_whole() -> None:
    page = json.loads(dashboard_text())
    places = [tuple(panel["gridPos"].values()) for panel in page["panels"]]
    assert len(set(places)) == len(places) == len(PANELS) and all(x + width <= 24 for x, _, width, _ in places)
    assert len({panel["id"] for panel in page["panels"]}) == len(PANELS)
    source = page["__inputs"][0]["name"]
    assert all(target["datasource"]["uid"] == f"${{{source}}}" and "@" not in target["expr"]
               for panel in page["panels"] for target in panel["targets"])
    variables = {variable["name"] for variable in page["templating"]["list"]}
    assert set(re.findall(r'"\$(\w+)', " ".join(t["expr"] for p in page["panels"] for t in p["targets"]))) == variables
