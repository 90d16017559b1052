"""What Prometheus reads, through a real request and prometheus-client's own parser."""

from __future__ import annotations

import builtins
import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest

from runtime.camera.live import COUNTED
from runtime.errors import Unavailable
from runtime.pipeline import Tally
from runtime.sinks.metrics import COUNTERS, STILL_SECONDS, MetricsServer, Snapshot
from runtime.stream_config import MetricsConfig
from runtime.supervision.health import Health

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed (mien[metrics])")

TALLY = Tally(**{
    **{name: 0 for name in Tally.__annotations__}, "frames": 90, "faces": 120, "stage_milliseconds":
    {"infer": {"p50": 2.5, "p95": 4.0}}, "age_milliseconds": {"p99": 80.0}, "expressions": {"happy": 7, "unsure": 2}})


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    health = Health()
    health.started()
    with closing(MetricsServer(MetricsConfig(port=0), health)) as serving:
        serving.health = health  # type: ignore[attr-defined]
        yield serving


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def samples(server: MetricsServer) -> dict[tuple[str, str], float]:
    families = parser.text_string_to_metric_families(get(server, "/metrics")[1])
    return {(s.name, ",".join(s.labels.values())): s.value for family in families for s in family.samples}


def test_every_name_is_one_that_every_client_takes(server: MetricsServer) -> None:
    # https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels, before names could be any text
    server.show(Snapshot(TALLY, {f"camera_{name}": 1 for name in (*COUNTED, "events-lost")}, 2**20, 12.5))
    names = [metric.name for metric in server._metrics()]
    assert len(names) > len(COUNTED) and all(re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", name) for name in names)


def test_every_count_is_exposed(server: MetricsServer) -> None:
    server.show(Snapshot(TALLY, {"events_lost": 3, "mqtt_dropped": 4, "camera_damaged": 5}, 2**20, 12.5,
                         {"model": "tiny", "precision": "int8", "target": "cpu"}))
    found = samples(server)
    assert {name: found[f"mien_{name}_total", ""] for name in COUNTERS} == {
        **dict.fromkeys(COUNTERS, 0.0), "frames": 90.0, "faces": 120.0}
    assert [found[f"mien_{n}_total", ""] for n in ("events_lost", "mqtt_dropped", "camera_damaged")] == [3, 4, 5]
    assert found["mien_expressions_total", "happy"] == 7
    assert found["mien_stage_seconds", "0.95,infer"] == pytest.approx(0.004)
    assert found["mien_frame_age_seconds", "0.99"] == pytest.approx(0.08)
    assert (found["mien_resident_memory_bytes", ""], found["mien_uptime_seconds", ""]) == (2**20, 12.5)
    assert found["mien_engine_info", "tiny,int8,cpu"] == 1


def test_every_count_of_a_tally_has_its_metric() -> None:
    counts = {name for name, kind in Tally.__annotations__.items() if kind == "int"}
    assert counts == set(COUNTERS)


def test_before_the_first_frame_the_health_is_there(server: MetricsServer) -> None:
    found = samples(server)
    assert found["mien_health", "running"] == 1 and found["mien_health", "degraded"] == 0
    assert found["mien_camera_up", ""] == 1


def test_ready_means_that_expressions_are_read(server: MetricsServer) -> None:
    health: Health = server.health  # type: ignore[attr-defined]
    assert get(server, "/readyz")[0] == 200
    health.report("camera", "no frame for 3 s")
    status, content = get(server, "/readyz")
    assert (status, json.loads(content)) == (503, {"state": "camera-down", "troubles": {"camera": "no frame for 3 s"}})
    assert samples(server)["mien_camera_up", ""] == 0


def test_live_means_that_the_loop_goes_round(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.turned()
    assert get(server, "/livez")[0] == 200
    with monkeypatch.context() as later:
        then = time.monotonic() + STILL_SECONDS
        later.setattr("runtime.sinks.metrics.time", SimpleNamespace(monotonic=lambda: then))
        assert get(server, "/livez")[0] == 503
    server.turned()
    assert get(server, "/livez")[0] == 200


def test_a_missing_package_says_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> object:
        if name.startswith("prometheus_client"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unavailable, match=r'pip install "mien\[metrics\]"'):
        MetricsServer(MetricsConfig(port=0), Health())
