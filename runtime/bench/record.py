"""A run of `mien bench` as a record and as a table. Knows engines only by their rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from runtime.durable import write_text

# What compiled or ran a target's engines: the package whose version a record's name carries
RUNS_ON = {"cpu": "onnxruntime", "onnxruntime-cuda": "onnxruntime-gpu", "onnxruntime-tensorrt": "onnxruntime-gpu"}


def record_name(record: dict[str, Any]) -> str:
    """Return `bench-<model>-<device>-<target>-<version>.json`, in letters that every file system takes."""
    made_on = record["made_on"]
    models = dict.fromkeys(row["name"].rpartition(" ")[0] for row in record["rows"])
    runner = RUNS_ON.get(record["target"], record["target"])
    device = made_on.get("gpu") or made_on["processor"]
    release = f"l4t {made_on['l4t']}" if "l4t" in made_on else ""
    words = ["bench", *models, device, release, *dict.fromkeys((record["target"], runner)), made_on.get(runner, "")]
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(w for w in words if w).lower().replace("(r)", "")).strip("-") + ".json"


def save_record(place: Path, record: dict[str, Any]) -> Path:
    """Write a record to a file, or into a folder under its own name; returns the file."""
    path = place / record_name(record) if place.is_dir() else place
    write_text(path, layout(record) + "\n")
    return path


def layout(record: dict[str, Any]) -> str:
    """Return JSON with a list of numbers on one line, so that a hundred timings are not a hundred lines."""
    text = json.dumps(record, indent=2, allow_nan=False)  # a line break stands in no string, so only lists match
    return re.sub(r"\[\n\s*([-\d.e+,\s]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: status, size, accuracy, times and faces a second; then what the accuracies are of.

    GPU ms is the median by the device's own clock, – where an engine has none; the rest of p50 is the host's.
    """
    lines = [f"{'engine':28} {'batch':>5} {'MB':>7} {'accuracy':>8} {'p50 ms':>9} {'p95 ms':>9} {'p99 ms':>9} "
             f"{'GPU ms':>8} {'faces/s':>9} {'ratio':>7} {'MiB':>7}  status"]
    for row in rows:
        accuracy = row.get("accuracy")
        head = (f"{row['name']:28} {row.get('batch', '–'):>5} {row.get('bytes', 0) / 1e6:7.2f} "
                f"{f'{100 * accuracy:.1f} %' if accuracy is not None else '–':>8} ")
        if "milliseconds" not in row:
            lines.append(f"{head}{'–':>9} {'–':>9} {'–':>9} {'–':>8} {'–':>9} {'–':>7} {'–':>7}  {row['status']}")
            continue
        ms, memory = row["milliseconds"], row.get("memory", {}).get("peak_mib")
        device = f"{row['device_milliseconds']['p50']:.3f}" if "device_milliseconds" in row else "–"
        lines.append(f"{head}{ms['p50']:9.3f} {ms['p95']:9.3f} {ms['p99']:9.3f} {device:>8} "
                     f"{row['faces_per_second']:9.1f} {row['ratio']:7.3f} {'–' if memory is None else memory:>7}  "
                     f"{row['status']}")
    on = {row["name"]: row["accuracy_on"] for row in rows if row.get("accuracy_on")}
    return lines + [f"accuracy of {name}: {what}" for name, what in on.items()]
