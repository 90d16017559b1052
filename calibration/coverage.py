"""How well a list of faces stands for the set it was chosen from: in features, in light and sharpness, in classes.

Knows nothing of how the list was chosen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
_ROWS = 2048  # faces whose distances to the list are held at a time: 4 MB a 512 faces of the list


def distances_to_nearest(features: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return each face's Euclidean distance to the nearest chosen one, (N,) float32, of features (N, D) and (K, D)."""
    squares = np.einsum("ij,ij->i", chosen, chosen)
    nearest = [squares + np.einsum("ij,ij->i", part, part)[:, None] - 2 * (part @ chosen.T)
               for part in (features[i : i + _ROWS] for i in range(0, len(features), _ROWS))]
    return np.asarray(np.sqrt(np.maximum(np.concatenate([part.min(axis=1) for part in nearest]), 0)))


def picture_qualities(faces: np.ndarray) -> dict[str, np.ndarray]:
    """Return brightness (mean, 0–255), contrast (standard deviation) and sharpness of (N, C, H, W) uint8, each (N,).

    Sharpness is the variance of the Laplacian, low in a blurred picture (Pech-Pacheco et al., ICPR 2000).
    """
    found: dict[str, list[np.ndarray]] = {"brightness": [], "contrast": [], "sharpness": []}
    for start in range(0, len(faces), _ROWS):
        grey = faces[start : start + _ROWS].mean(axis=1, dtype=np.float32)
        inner = grey[:, 1:-1, 1:-1]
        laplacian = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:] - 4 * inner
        found["brightness"].append(grey.mean(axis=(1, 2)))
        found["contrast"].append(grey.std(axis=(1, 2)))
        found["sharpness"].append(laplacian.var(axis=(1, 2)))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def describe_coverage(faces: np.ndarray, picks: np.ndarray, labels: np.ndarray | None, label_names: tuple[str, ...],
                      features: np.ndarray | None) -> dict[str, Any]:
    """Return list against set as plain values: quantiles of light and sharpness, classes, distances in features.

    faces: (N, C, H, W) uint8; picks: indices; labels (N,) and features (N, D), or None where they are not known.
    """
    report: dict[str, Any] = {"list": len(picks), "set": len(faces)}
    for name, values in picture_qualities(faces).items():
        report[name] = {"list": _quantiles(values[picks]), "set": _quantiles(values)}
    if labels is not None:
        shares = [np.bincount(part, minlength=len(label_names)) / len(part) for part in (labels[picks], labels)]
        report["classes"] = {which: {name: round(float(share), 4) for name, share in zip(label_names, of)}
                             for which, of in zip(("list", "set"), shares)}
    if features is not None:
        apart = distances_to_nearest(features, features[picks])
        scale = float(np.sqrt(features.var(axis=0, dtype=np.float64).sum()))  # a face's typical distance from the mean
        report["feature_distance"] = {"to_nearest": _quantiles(apart), "largest": round(float(apart.max()), 4),
                                      "typical_from_mean": round(scale, 4)}
    return report


def coverage_lines(report: dict[str, Any]) -> list[str]:
    """Return the report for people."""
    lines = []
    for name in ("brightness", "contrast", "sharpness"):
        pair = "  ".join(f"{which} " + " ".join(f"{v:.0f}" for v in report[name][which].values())
                         for which in ("list", "set"))
        lines.append(f"{name:<10} quantiles 1 10 50 90 99 %: {pair}")
    if "classes" in report:
        of = report["classes"]
        lines.append("classes, list/set %: " + "  ".join(
            f"{name} {100 * of['list'][name]:.0f}/{100 * of['set'][name]:.0f}" for name in of["set"]))
    if "feature_distance" in report:
        distance = report["feature_distance"]
        lines.append(f"distance to the nearest chosen face: median {distance['to_nearest']['0.5']:.2f}, 99 % "
                     f"{distance['to_nearest']['0.99']:.2f}, largest {distance['largest']:.2f} "
                     f"(typical from the mean: {distance['typical_from_mean']:.2f})")
    return lines


def _quantiles(values: np.ndarray) -> dict[str, float]:
    return {str(q): round(float(np.quantile(values, q)), 4) for q in QUANTILES}
