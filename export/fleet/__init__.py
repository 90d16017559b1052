"""A site's kiosks → the configuration of what watches them: mosquitto, Prometheus, Grafana. Runs none of these."""
