"""A board's record: its schema, its file, and how a stranger's is read, strictly.

Knows what a record may say, not whether it is true: nothing here is signed, and whoever writes numbers by hand is
believed as far as `evidence.py` believes them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from export.board.private import is_private, one_line
from runtime.config import build
from runtime.durable import write_text
from runtime.errors import BadConfig, BadInput
from runtime.machine import PACKAGES

SCHEMA = 1
MAX_BYTES = 64 << 10  # a full record is about 6 KB
MAX_TEXT, MAX_ITEMS, MAX_NUMBER = 400, 64, 1e12
FACTS = ("processor", "int8_instructions", "system", "python", "gpu", "driver", "l4t", "cuda", "power_mode", *PACKAGES)

Target = Literal["cpu", "tensorrt", "tensorrt-rtx"]
Precision = Literal["fp32", "fp16", "int8"]
PartName = Literal["gpu tests", "builds", "ahead of time", "inspector", "numerics", "oracle", "bench"]
PARTS: tuple[PartName, ...] = get_args(PartName)  # in the order in which they are measured
Status = Literal["done", "failed", "not possible here"]
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PLAIN = re.compile(r"[\w .,:()+×@-]*")  # nothing that means something in Markdown, HTML or a shell
_FREE = ("why", "names_of_failed")  # other people's words, which no page shows


@dataclass(frozen=True)
class Bounded:
    """What every piece of a record keeps: texts short, on one line and without paths, numbers finite, lists short."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name))


@dataclass(frozen=True)
class Part(Bounded):
    """One part of the report; `why` says in one line why it is not done. A part that failed may have measured some."""

    name: PartName
    status: Status
    why: str
    seconds: float


@dataclass(frozen=True)
class GpuTests(Bounded):
    """How the tests under tests/gpu ended, and the names of those that failed."""

    passed: int
    failed: int
    skipped: int
    names_of_failed: tuple[str, ...]


@dataclass(frozen=True)
class Build(Bounded):
    """One engine that was compiled; gpus: generations it is for, as `sm87`. peak_bytes: the compiler's memory."""

    precision: Precision
    graph_sha256: str
    target: Target
    compiler: str
    gpus: tuple[str, ...]
    engine_bytes: int
    peak_bytes: int
    seconds: float


@dataclass(frozen=True)
class Layers(Bounded):
    """The inspector's layers of one engine, by verdict."""

    precision: Precision
    graph_sha256: str
    as_asked: int
    not_as_asked: int
    opaque: int


@dataclass(frozen=True)
class Numerics(Bounded):
    """Golden faces: the worst |Δlogit| from PyTorch, what the card allows, and how many labels are PyTorch's."""

    precision: Precision
    graph_sha256: str
    faces: int
    labels_kept: int
    worst: float
    bound: float


@dataclass(frozen=True)
class OracleVerdict(Bounded):
    """INT8's golden logits: the worst |Δ| from the exact integers' and the worst of `draws` legal backends.

    integers, illegal: how many of its own integers the engine showed, and how many no backend may show; 0 of a
    compiled engine, which shows none.
    """

    graph_sha256: str
    backend: str
    faces: int
    draws: int
    from_exact: float
    legal: float
    integers: int
    illegal: int


@dataclass(frozen=True)
class Timing(Bounded):
    """One engine at one batch size: a batch's milliseconds, and what the engine takes alone (None: not measured)."""

    precision: Precision
    batch: int
    p50: float
    p90: float
    p95: float
    p99: float
    faces_per_second: float
    waited_for_core: float
    peak_mib: float
    watts: float | None = None
    millijoules_per_face: float | None = None


@dataclass(frozen=True)
class BoardRecord(Bounded):
    """Everything a board measured of one model on one target. `ahead_of_time` was compiled there, and not run.

    made: the day, UTC. facts: the machine, as `mien doctor` tells it. targets: what it says can run.
    """

    schema: int
    made: str
    mien: str
    commit: str
    target: Target
    model: str
    facts: dict[str, str]
    targets: dict[str, bool]
    throttled: bool
    parts: tuple[Part, ...]
    gpu_tests: GpuTests | None
    builds: tuple[Build, ...]
    ahead_of_time: tuple[Build, ...]
    layers: tuple[Layers, ...]
    numerics: tuple[Numerics, ...]
    oracle: OracleVerdict | None
    bench: tuple[Timing, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [*(set(self.facts) - set(FACTS)), *(set(self.targets) - {"cpu", "tensorrt", "tensorrt-rtx"})]:
            raise ValueError(f"expected facts among {', '.join(FACTS)}, found {', '.join(sorted(unknown))}")
        if not _DAY.fullmatch(self.made):
            raise ValueError(f"expected a day such as 2026-11-22, found {self.made!r}")
        if tuple(part.name for part in self.parts) != PARTS:
            raise ValueError(f"expected the parts {', '.join(PARTS)}, found {', '.join(p.name for p in self.parts)}")
        for part in self.parts:
            self._check_part(part)

    def part(self, name: PartName) -> Part:
        """Return a part by name."""
        return next(part for part in self.parts if part.name == name)

    def _check_part(self, part: Part) -> None:
        """A part is done with a result, or says why not; one that was not possible has none."""
        measured = bool(getattr(self, FIELDS[part.name]))
        if (part.status == "done") == bool(part.why):
            raise ValueError(f"expected {part.name} done, or a line that says why not, found {part.status}, "
                             f"{part.why!r}")
        if part.status != "failed" and measured != (part.status == "done"):
            raise ValueError(f"expected {part.name} {part.status} with{'' if part.status == 'done' else 'out'} "
                             "results, found otherwise")


FIELDS: dict[PartName, str] = {"gpu tests": "gpu_tests", "builds": "builds", "ahead of time": "ahead_of_time",
                               "inspector": "layers", "numerics": "numerics", "oracle": "oracle", "bench": "bench"}


def record_from(values: dict[str, Any], source: str) -> BoardRecord:
    """Make a record of plain values. Raises BadInput with one line that names the source."""
    if values.get("schema") != SCHEMA:
        raise BadInput(f"expected a board record of schema {SCHEMA}, found {one_line(repr(values.get('schema')))} in "
                       f"{source}; make it with this version's mien board-report")
    try:
        return build(BoardRecord, values, source)
    except BadConfig as error:
        raise BadInput(one_line(str(error))) from error


def read_record(path: Path) -> BoardRecord:
    """Read a record that anyone may have written. Raises BadInput with one line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(f"expected a board record of at most {MAX_BYTES >> 10} KiB, found more in {path}")
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant,
                            object_pairs_hook=_without_duplicates)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"expected a board record in {path}, found {one_line(str(error))}; make it with "
                       "mien board-report") from error
    if not isinstance(values, dict):
        raise BadInput(f"expected a board record in {path}, found other JSON; make it with mien board-report")
    return record_from(values, str(path))


def save_record(place: Path, record: BoardRecord) -> Path:
    """Write a record to a file, or into a folder under its own name, whole or not at all; returns the file."""
    path = place / record_name(record) if place.is_dir() else place
    write_text(path, json.dumps(dataclasses.asdict(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def record_name(record: BoardRecord) -> str:
    """Return `<device>-<release>-<target>-<compiler>.json`, in letters that every file system takes."""
    facts = record.facts
    # the CPU's record is named by the CPU also where there is a GPU: it says nothing of it
    device = facts.get("processor", "") if record.target == "cpu" else facts.get("gpu", "")
    release = f"l4t {facts['l4t']}" if "l4t" in facts else ""
    version = facts.get("onnxruntime", "") if record.target == "cpu" else next((b.compiler for b in record.builds), "")
    words = " ".join((device, release, record.target, version)).lower().replace("(r)", "")
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-.") + ".json"


def _check(name: str, value: Any) -> None:
    """Refuse what no honest record holds. Raises ValueError."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT or not value.isprintable():
            raise ValueError(f"expected at most {MAX_TEXT} printable letters for {name}, found {value[:40]!r}…")
        if name not in _FREE and not _PLAIN.fullmatch(value):
            raise ValueError(f"expected plain words or numbers for {name}, found {value!r}")
        if name.endswith("sha256"):  # whose digits may look like a serial number
            if not _SHA256.fullmatch(value):
                raise ValueError(f"expected a SHA-256 for {name}, found {value!r}")
        elif is_private(value):
            raise ValueError(f"expected {name} without paths or serial numbers, found {value!r}; remove them")
    elif isinstance(value, int | float) and not 0 <= value <= MAX_NUMBER:  # so that NaN is refused too
        raise ValueError(f"expected {name} of 0 to {MAX_NUMBER:g}, found {value!r}")
    elif isinstance(value, tuple | dict):
        if len(value) > MAX_ITEMS:
            raise ValueError(f"expected at most {MAX_ITEMS} {name}, found {len(value)}")
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(name, item)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text}, which JSON does not have")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key twice in one object")
    return values
