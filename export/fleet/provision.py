"""A site → every file that its broker, Prometheus, Grafana and kiosks need, by path. Writes and runs nothing."""

from __future__ import annotations

from export.fleet.alerts import RULES, prometheus_text, rules_text
from export.fleet.broker import acl, certificates_script, kiosk_yaml, mosquitto_conf
from export.fleet.dashboard import dashboard_text
from export.fleet.site import Site


def fleet_files(site: Site) -> dict[str, bytes]:
    """Return the files; no key and no password is among them, for the script makes keys where they shall stay."""
    texts = {"mosquitto/mien.conf": mosquitto_conf(site), "mosquitto/acl": acl(site),
             "make-certificates.sh": certificates_script(site), "prometheus/prometheus.yml": prometheus_text(site),
             f"prometheus/{RULES}": rules_text(site), "grafana/mien.json": dashboard_text()}
    texts |= {f"kiosks/{kiosk.name}.yaml": kiosk_yaml(site, kiosk) for kiosk in site.kiosks}
    return {path: text.encode() for path, text in texts.items()}
