"""What a data set holds, as a table for people and as plain values for JSON. Knows no particular data set."""

from __future__ import annotations

from typing import Any

from train.datasets.labelled_faces import LabelledFaces, find_duplicates
from train.datasets.published import Published, differences


def summarize(faces: LabelledFaces, published: Published | None) -> dict[str, Any]:
    """Return counts, copies, unreadable files, pixel statistics, and what differs from the published split sizes.

    published: None where nobody published any.
    """
    copies = find_duplicates(faces)
    training = faces.images[faces.splits == "Training"] / 255 if "Training" in faces.splits else faces.images / 255
    counts = faces.counts()
    return {
        "images": len(faces), "sha256": faces.sha256(), "splits": counts,
        "extra_copies_inside": copies.extra_inside, "pictures_of_several_labels": copies.of_several_labels,
        "copies_across": {f"{a} → {b}": {"images": n, "with_another_label": other}
                          for (a, b), (n, other) in copies.across.items()},
        "blank": copies.blank, "unreadable": list(faces.unreadable),
        "differs_from_published": [] if published is None else list(differences(faces, published)),
        "mean": round(float(training.mean()), 4), "std": round(float(training.std()), 4),
    }


def as_text(summary: dict[str, Any]) -> str:
    """Lay the summary out as lines for a terminal."""
    splits = summary["splits"]
    labels = list(next(iter(splits.values())))
    width = max(len(s) for s in (*splits, "split")) + 2
    column = max(10, *(len(name) + 2 for name in labels))
    lines = ["split".ljust(width) + "".join(name.rjust(column) for name in (*labels, "all"))]
    for split, row in splits.items():
        lines.append(split.ljust(width) + "".join(
            str(count).rjust(column) for count in (*(row[name] for name in labels), sum(row.values()))))
    for split, extra in summary["extra_copies_inside"].items():
        lines.append(f"{extra} extra exact copies inside {split}")
        if several := summary["pictures_of_several_labels"][split]:
            lines.append(f"{several} pictures under several labels inside {split}")
    for pair, found in summary["copies_across"].items():
        lines.append(f"{found['images']} exact copies across {pair}, {found['with_another_label']} under another label")
    lines.append(f"{summary['blank']} blank images (one grey value)")
    lines.append(f"{len(summary['unreadable'])} unreadable or damaged")
    lines += [f"  {name}" for name in summary["unreadable"]]
    lines += [f"differs from the published set: {text}" for text in summary["differs_from_published"]]
    as_read = f"  of images as {summary['read_as']}" if "read_as" in summary else ""
    lines.append(f"mean {summary['mean']}  std {summary['std']}  sha256 {summary['sha256'][:16]}…{as_read}")
    return "\n".join(lines)
