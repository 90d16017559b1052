"""What Prometheus is told: counts, times, health and memory of a stream, in prometheus-client's own exposition.

The only importer of `prometheus_client`. The stream's thread leaves a snapshot once a second, the server's thread reads
it: neither waits for the other. Knows nothing of pictures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.drift.gauges import gauges_of
from runtime.errors import Unavailable
from runtime.pipeline import Tally
from runtime.sinks.status_server import Page, StatusServer
from runtime.stream_config import MetricsConfig
from runtime.supervision.health import STATES, Health
from runtime.supervision.power import hottest, thermal_alerts, throttle_counts

if TYPE_CHECKING:
    from prometheus_client.core import Metric

COUNTERS = {  # of the pipeline's tally
    "frames": "Frames read and scored", "frames_with_faces": "Frames with a face", "faces": "Faces scored",
    "detections": "Frames that the face detector saw", "tracks": "Faces that were followed over time",
    "label_changes": "Changes of a followed face's label", "idle": "Turns of the loop without a fresh frame",
    "not_finite": "Faces without a finite answer", "damaged_frames": "Frames that could not be read"}
STILL_SECONDS = 30.0  # without a turn of the loop a stream is not alive, as systemd's WatchdogSec judges it


@dataclass(frozen=True)
class Snapshot:
    """A stream at one moment; `counts` are those beside the tally's: lost events, MQTT's dropped messages …"""

    tally: Tally
    counts: Mapping[str, int]
    memory_bytes: int
    uptime_seconds: float
    engine: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)  # the monitor's status


class MetricsServer:
    """Serves /metrics, /livez and /readyz. `turned` is called once a turn of the loop, `show` once a second."""

    def __init__(self, config: MetricsConfig, health: Health):
        """Bind and serve. Raises OSError where the port is taken, Unavailable without prometheus-client."""
        collect = _exposition(self._metrics)
        self._health = health
        self._snapshot: Snapshot | None = None
        self.turned()
        self._server = StatusServer(config.host, config.port,
                                    {"/metrics": collect, "/livez": self._livez, "/readyz": self._readyz})
        self.port = self._server.port

    def turned(self) -> None:
        """Remember that the loop went round."""
        self._turned = time.monotonic()
        self._alive_until = self._turned + STILL_SECONDS

    @contextmanager
    def opening(self, seconds: float) -> Iterator[None]:
        """Vouch for the body to /livez for at most `seconds`, as `Notifier.opening` does to the watchdog."""
        self._alive_until = time.monotonic() + seconds
        try:
            yield
        finally:
            self.turned()

    def show(self, snapshot: Snapshot) -> None:
        """Serve this from now on."""
        self._snapshot = snapshot

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _livez(self) -> Page:
        now = time.monotonic()
        return _json(200 if now < self._alive_until else 503, {"seconds_since_progress": round(now - self._turned, 3)})

    def _readyz(self) -> Page:
        health = self._health
        return _json(200 if health.is_ready else 503, {"state": health.state, "troubles": health.troubles})

    def _metrics(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        state = GaugeMetricFamily("mien_health", "1 for the state that the stream is in", labels=["state"])
        for each in STATES:
            state.add_metric([each], float(each == self._health.state))
        yield state
        camera = "camera" not in self._health.troubles
        yield GaugeMetricFamily("mien_camera_up", "1 while the camera delivers", value=float(camera))
        yield from _heat()
        snapshot = self._snapshot
        if snapshot is None:
            return
        tally = vars(snapshot.tally)
        for name, text in COUNTERS.items():
            if name in tally:
                yield CounterMetricFamily(f"mien_{name}", text, value=tally[name])
        for name, count in snapshot.counts.items():
            words = name.replace("-", "_")  # older clients take no hyphen in a name, newer ones say this
            yield CounterMetricFamily(f"mien_{words}", words.replace("_", " ").capitalize(), value=count)
        seen = CounterMetricFamily("mien_expressions", "Faces by the label they were given", labels=["label"])
        for label, count in snapshot.tally.expressions.items():
            seen.add_metric([label], count)
        yield seen
        times = GaugeMetricFamily("mien_stage_seconds", "A stage's duration, of the last five minutes",
                                  labels=["stage", "quantile"])
        for stage, values in snapshot.tally.stage_milliseconds.items():
            for name, milliseconds in values.items():
                times.add_metric([stage, str(int(name[1:]) / 100)], milliseconds / 1000)
        yield times
        ages = GaugeMetricFamily("mien_frame_age_seconds", "From a live capture until every sink had the frame, of the "
                                 "last five minutes", labels=["quantile"])
        for name, milliseconds in snapshot.tally.age_milliseconds.items():
            ages.add_metric([str(int(name[1:]) / 100)], milliseconds / 1000)
        yield ages
        yield GaugeMetricFamily("mien_resident_memory_bytes", "Resident memory", value=snapshot.memory_bytes)
        yield GaugeMetricFamily("mien_uptime_seconds", "Seconds since the stream began", value=snapshot.uptime_seconds)
        yield InfoMetricFamily("mien_engine", "What reads expressions",
                               value={k: str(v) for k, v in snapshot.engine.items()})
        for gauge in gauges_of(snapshot.drift):
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=["quantity"] if "" not in gauge.values else [])
            for quantity, value in gauge.values.items():
                family.add_metric([quantity] if quantity else [], value)
            yield family


def _heat(root: Path = Path("/")) -> Iterator[Metric]:
    """What Linux shows of the board; zeros where it shows nothing."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    yield GaugeMetricFamily("mien_throttled", "1 while a thermal alert of the board is raised",
                            value=float(bool(thermal_alerts(root))))
    yield CounterMetricFamily("mien_throttle_events", "Times that heat or current slowed the board since it started",
                              value=sum(throttle_counts(root).values()))
    zone = hottest(root)
    yield GaugeMetricFamily("mien_hottest_celsius", "The hottest thermal zone", value=zone[1] if zone else 0.0)


def _exposition(collect: Callable[[], Iterator[Metric]]) -> Callable[[], Page]:
    """Return a page of what is collected. Raises Unavailable without prometheus-client."""
    try:
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
        from prometheus_client.registry import Collector
    except ImportError as error:
        raise Unavailable("expected the package prometheus-client for metrics.port, found none; "
                          'pip install "mien[metrics]"') from error

    class _Collector(Collector):
        def collect(self) -> Iterator[Metric]:
            return collect()

        def describe(self) -> list[Metric]:
            return []

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector())
    return lambda: Page(200, generate_latest(registry), CONTENT_TYPE_LATEST)


def _json(status: int, values: dict[str, Any]) -> Page:
    return Page(status, json.dumps(values).encode() + b"\n", "application/json")
