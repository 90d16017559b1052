"""The monitor's numbers, through Prometheus' own parser."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest
from watched_model import watched_model

from runtime.drift.config import DriftConfig
from runtime.drift.gauges import gauges_of
from runtime.drift.monitor import DriftMonitor
from runtime.pipeline import Tally
from runtime.sinks.metrics import MetricsServer, Snapshot
from runtime.stream_config import MetricsConfig
from runtime.supervision.health import Health

TALLY = Tally(**{**{name: 0 for name in Tally.__annotations__}, "stage_milliseconds": {}, "age_milliseconds": {},
                 "expressions": {}})


def test_a_monitor_that_is_off_has_no_gauge() -> None:
    assert list(gauges_of({"state": "off"})) == [] and list(gauges_of({})) == []


def test_a_monitor_that_did_not_start_has_failed() -> None:
    found = {gauge.name: gauge.values[""] for gauge in gauges_of({"state": "failed", "why": "drift.json"})}
    assert found == {"mien_drift_failed": 1.0, "mien_drift_alarm": 0.0}


def test_an_engine_without_a_baseline_is_said_to_be_learned(tmp_path: Path) -> None:
    with closing(DriftMonitor(watched_model(tmp_path / "m"), "fp32", "tensorrt", DriftConfig())) as monitor:
        status = monitor.status()
    assert status["state"] == "learning"
    (learning,) = [gauge.values for gauge in gauges_of(status) if gauge.name == "mien_drift_learning"]
    assert learning["log_kl"] == 1 and learning["brightness"] == 0


def test_the_gauges_are_the_status(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is missing (mien[metrics])")
    with closing(DriftMonitor(watched_model(tmp_path / "m"), "fp32", "cpu", DriftConfig())) as monitor:
        status = monitor.status()
    status["samples"], status["kl"] = 7, 0.25
    status["quantities"]["energy"] |= {"samples": 7, "stability": 0.5, "alarming": True}
    with closing(MetricsServer(MetricsConfig(port=0), Health())) as server:
        server.show(Snapshot(TALLY, {}, 0, 0.0, {}, status))
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            text = answer.read().decode()
    found = {(s.name, ",".join(s.labels.values())): s.value
             for family in parser.text_string_to_metric_families(text) for s in family.samples}
    assert found["mien_drift_samples", ""] == 7 and found["mien_drift_kl", ""] == 0.25
    assert found["mien_drift_alarm", ""] == 0 and ("mien_drift_agreement", "") not in found
    assert found["mien_drift_stability", "energy"] == 0.5 and found["mien_drift_alarming", "energy"] == 1
    assert ("mien_drift_stability", "brightness") not in found  # nothing was seen of it

