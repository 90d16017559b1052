"""What the fault tests did and saw → docs/reliability.md. Run by `make reliability`.

    python tests/faults/reliability_table.py junit.xml docs/reliability.md

Each test records `fault`, `injected` and `observed`. The number that a fault begins with is its row, else that in the
test's name. Only what passed becomes a row. Knows nothing of how a fault is made.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from runtime.durable import write_text  # noqa: E402

BEGIN, END = "<!-- made by make reliability: begin -->", "<!-- made by make reliability: end -->"
# The catalogue's rooms, by the last row of each, and the faults that have no test unless one recorded them
ROOMS = {9: "camera", 14: "frames", 23: "artefacts", 27: "configuration", 33: "disk and power", 36: "dashboard",
         43: "engines", 49: "clock, signals, memory", 54: "deployment"}
CATALOGUE = {
    1: "read hangs", 2: "unplugged", 3: "absent at boot", 4: "comes back under another index", 5: "frozen picture",
    6: "black, covered, overexposed", 7: "capture process crashes or stops", 8: "camera daemon deadlocked",
    9: "device busy", 10: "truncated or bit-flipped MJPEG", 11: "size or channels change", 12: "absurd dimensions",
    13: "burst, starvation", 14: "no face, fifty faces, boxes over the edge", 15: "one bit of a graph flipped",
    16: "truncated graph", 17: "files of two bundles mixed", 18: "external data, links", 19: "fuzzed graph in a parser",
    20: "a pickle is offered", 21: "label order or count differs", 22: "NaN outputs", 23: "hostile archive",
    24: "bad YAML", 25: "duplicate keys", 26: "deep nesting, alias bomb", 27: "NaN, 1e3 as text", 28: "disk full",
    29: "read-only, I/O error", 30: "SIGKILL at each write step", 31: "torn last line", 32: "zero-length file",
    33: "inodes, descriptors exhausted", 34: "slow reader", 35: "port taken", 36: "malformed HTTP",
    37: "cache of another TensorRT or GPU", 38: "cache tampered", 39: "build killed, out of memory",
    40: "build or opening longer than the watchdog", 41: "inference hangs, CUDA error", 42: "silent drift",
    43: "thermal throttling", 44: "clock jumps", 45: "SIGTERM mid-frame", 46: "main loop hung", 47: "leak",
    48: "out of memory", 49: "two instances", 50: "crash loop of a new bundle", 51: "connection drops while deploying",
    52: "wrong host key", 53: "failing canary", 54: "downgrade, replay"}


@dataclass(frozen=True, order=True)
class Seen:
    """One injected fault: its row in the catalogue, what it was, what was done and seen, and the test that did it."""

    row: int
    fault: str
    injected: str
    observed: str
    test: str


def read_junit(path: Path) -> tuple[list[Seen], list[str]]:
    """Return what passed with its record, and the names of tests that failed, were skipped, or recorded nothing."""
    seen, others = [], []
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name", "")
        said = {p.get("name", ""): " ".join(p.get("value", "").split()) for p in case.iter("property")}
        row = _row_of(said.get("fault", ""), name)
        if any(case.find(kind) is not None for kind in ("failure", "error", "skipped")):
            others.append(f"{name}: not passed")
        elif row is None or not {"fault", "injected", "observed"} <= set(said):
            others.append(f"{name}: recorded nothing")
        else:
            file = f"{case.get('classname', '').replace('.', '/')}.py"
            fault = re.sub(r"^\d+\s+", "", said["fault"])
            seen.append(Seen(row, fault, said["injected"], said["observed"], f"{file}::{name.partition('[')[0]}"))
    return sorted(seen), others


def _row_of(fault: str, name: str) -> int | None:
    found = re.match(r"(\d+)\s", fault) or re.match(r"test_(\d\d)_", name)
    return int(found[1]) if found and int(found[1]) in CATALOGUE else None


def table(seen: Sequence[Seen]) -> str:
    """Return the page's generated part: a count, a table a room, and the rows without a test."""
    rows = sorted({each.row for each in seen})
    lines = [f"{len(seen)} faults injected, in {len(rows)} of the catalogue's {len(CATALOGUE)} rows.", ""]
    first = 1
    for last, room in ROOMS.items():
        here = [each for each in seen if first <= each.row <= last]
        if here:
            lines += [f"### {room[0].upper()}{room[1:]}", "", "| row | fault | injected | observed | test |",
                      "|---|---|---|---|---|", *(_line(each) for each in here), ""]
        first = last + 1
    missing = [f"{row} ({CATALOGUE[row]})" for row in CATALOGUE if row not in rows]
    if missing:
        lines += ["### Without a test in `tests/faults`", "", f"Rows {', '.join(missing)}.", ""]
    return "\n".join(lines)


def _line(each: Seen) -> str:
    file, _, name = each.test.partition("::")
    cells = (each.fault, each.injected, each.observed)
    text = " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {each.row} | {text} | [{name}](../{file}) |"


def put_table(page: str, made: str) -> str:
    """Return a page with its generated part replaced. Raises ValueError where the page has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"expected a page with {BEGIN} and {END}, found none; put them where the table belongs")
    return f"{before}{BEGIN}\n\n{made}\n{END}{after}"


def main(arguments: Iterable[str]) -> int:
    """Make the table; 1 where a test did not pass, which leaves the page as it was."""
    junit, page = map(Path, arguments)
    seen, others = read_junit(junit)
    print("\n".join(others), file=sys.stderr)
    if any(line.endswith("not passed") for line in others):
        print(f"mien: expected every fault test to pass, found those above; {page} stays as it was", file=sys.stderr)
        return 1
    write_text(page, put_table(page.read_text(encoding="utf-8"), table(seen)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
