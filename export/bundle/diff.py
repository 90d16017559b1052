"""Two bundles' manifests → what came, went and changed. Looks at hashes, not into files."""

from __future__ import annotations

from typing import Any

from runtime.bundle.manifest import Manifest


def diff_manifests(old: Manifest, new: Manifest) -> dict[str, Any]:
    """Return added, removed and changed paths, and the versions and targets where they differ."""
    before, after = ({file.path: file for file in each.files} for each in (old, new))
    return {
        "version": [old.version, new.version], "target": [old.target, new.target],
        "added": sorted(after.keys() - before.keys()), "removed": sorted(before.keys() - after.keys()),
        "changed": sorted(path for path in before.keys() & after.keys() if before[path] != after[path]),
        "same": sum(before[path] == after[path] for path in before.keys() & after.keys())}


def diff_lines(found: dict[str, Any]) -> list[str]:
    """Return lines for people."""
    head = [f"{what}: {old} → {new}" for what in ("version", "target") for old, new in [found[what]] if old != new]
    marks = (("+", "added"), ("-", "removed"), ("~", "changed"))
    changes = [f"{mark} {path}" for mark, kind in marks for path in found[kind]]
    return [*head, *changes, f"{found['same']} files the same"]
