"""Prometheus's own promtool reads the configuration and rules, and says when each alert fires."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from export.fleet.alerts import alerts
from export.fleet.dashboard import CHOSEN, PANELS
from export.fleet.site import Site

HERE = Path(__file__).parent
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: apt-get install prometheus")


def promtool(*words: object) -> str:
    done = subprocess.run([str(PROMTOOL), *map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_reads_the_configuration_and_every_rule(provisioned: Path, site: Site) -> None:
    assert f"{len(alerts(site))} rules found" in promtool("check", "config", provisioned / "prometheus/prometheus.yml")


@needs_promtool
def test_each_alert_fires_when_it_should_and_not_before(provisioned: Path, site: Site) -> None:
    scenarios = (HERE / "rules_test.yaml").read_text()
    shutil.copy(HERE / "rules_test.yaml", provisioned / "prometheus/rules_test.yaml")
    promtool("test", "rules", provisioned / "prometheus/rules_test.yaml")
    assert [each.name for each in alerts(site) if f"alertname: {each.name}\n" not in scenarios] == []


@needs_promtool
def test_prometheus_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [expression.replace("@", CHOSEN.replace("$site", ".*").replace("$kiosk", ".*"))
                   for panel in PANELS for expression, _ in panel.queries]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", tmp_path / "rules.yml")


def test_each_kiosk_is_asked_under_its_name(provisioned: Path) -> None:
    (asked,) = json.loads((provisioned / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert [(each["targets"], each["labels"]["kiosk"]) for each in asked["static_configs"]] == [
        (["10.0.0.11:9109"], "lobby"), (["[fd00::12]:9109"], "cafe")]
