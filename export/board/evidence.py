"""What a board's record proves: which row of `devices.yaml` it is about, and what it lacks to call that row verified.

Nothing is taken from the record that can be asked elsewhere: graphs and bounds are those of the model that ships today.
A record is not signed. Made-up numbers that are all plausible pass, and whoever merges one should know who sent it.
"""

from __future__ import annotations

from collections.abc import Iterable

from export.board.record import BoardRecord, PartName
from runtime.card import PRECISIONS, ModelCard
from runtime.engines import graph_for
from runtime.engines.devices import Platform, load_platforms, platform_of, version_of

# Compiling ahead of time tells of no device
REQUIRED: tuple[PartName, ...] = ("gpu tests", "builds", "inspector", "numerics", "oracle", "bench")
DRAWS = 59  # the largest of so many legal backends is above 95 % of all with 95 % confidence (integer_oracle/sample.py)


def row_of(record: BoardRecord) -> Platform | None:
    """Return the platform that a record ran on: its JetPack by L4T, a desktop by library; None for others and the CPU.

    GPU and compiler must be ones that the row names.
    """
    release = record.facts.get("l4t", "")
    if release:
        row, named = platform_of(release)
        rows: Iterable[Platform] = (row,) if row is not None and named else ()
    else:
        rows = (r for r in load_platforms() if not r.l4t)
    return next((row for row in rows if not row.too_old and _ran_on(record, row)), None)


def shortfalls(record: BoardRecord, card: ModelCard) -> tuple[str, ...]:
    """Return everything that keeps a record from verifying a row, in words; none where it does.

    card: that of the model that ships, whose graphs must have run within its bounds.
    """
    if record.target == "cpu":
        return ("it ran on the CPU, which says nothing of a GPU",)
    lacking = [f"{name}: {record.part(name).status}" for name in REQUIRED if record.part(name).status != "done"]
    if record.commit.endswith("+") or record.commit in ("unknown", "not a checkout"):
        lacking.append(f"its code is of no commit that others have: {record.commit}")
    if row_of(record) is None:
        lacking.append("no row of devices.yaml names its release, GPU and compiler")
    if record.gpu_tests and (record.gpu_tests.failed or not record.gpu_tests.passed):
        lacking.append(f"{record.gpu_tests.failed} GPU tests failed, {record.gpu_tests.passed} passed")
    for precision in PRECISIONS:
        lacking += _of_precision(record, card, precision)
    return tuple(lacking + _of_oracle(record, card))


def verified_by(records: dict[str, BoardRecord], card: ModelCard) -> dict[str, str]:
    """Return platform → the name of the record that verifies it; the newest where there are several."""
    proven = [(record.made, name, row.platform) for name, record in records.items()
              if (row := row_of(record)) is not None and not shortfalls(record, card)]
    return {platform: name for _, name, platform in sorted(proven)}


def _ran_on(record: BoardRecord, row: Platform) -> bool:
    target = "tensorrt-rtx" if row.tensorrt.startswith("RTX") else "tensorrt"
    wanted = version_of(row.tensorrt.removeprefix("RTX").strip())
    capabilities = {gpu.rpartition(" ")[2] for gpu in row.gpus}
    return record.target == target and bool(record.builds) and all(
        version_of(build.compiler)[: len(wanted)] == wanted and len(build.gpus) == 1
        and _capability(build.gpus[0]) in capabilities and build.target == target for build in record.builds)


def _capability(sm: str) -> str:
    """`sm87` → `8.7`."""
    digits = sm.removeprefix("sm")
    return f"{digits[:-1]}.{digits[-1:]}"


def _of_precision(record: BoardRecord, card: ModelCard, precision: str) -> list[str]:
    """What a precision lacks: one engine, its layers, its logits and its time, all of the graph that ships."""
    graph = graph_for(precision, record.target)
    sha256, bound = card.graphs[graph].sha256, card.golden_bound[graph]
    built = [b for b in record.builds if (b.precision, b.graph_sha256) == (precision, sha256)]
    layers = [one for one in record.layers if (one.precision, one.graph_sha256) == (precision, sha256)]
    numbers = [n for n in record.numerics if (n.precision, n.graph_sha256) == (precision, sha256)]
    timed = [t for t in record.bench if t.precision == precision and t.p50 > 0]
    lacking = [f"{precision}: no {what} of the graph that ships" for what, rows in
               (("engine", built), ("layers", layers), ("golden logits", numbers)) if len(rows) != 1]
    lacking += [f"{precision}: {one.not_as_asked} layers not as asked" for one in layers if one.not_as_asked]
    lacking += [f"{precision}: no layer was told" for one in layers if not one.as_asked + one.opaque]
    lacking += [f"{precision}: {n.worst:.3g} from PyTorch, {bound:.3g} allowed" for n in numbers if n.worst > bound]
    lacking += [f"{precision}: no golden face" for n in numbers if not n.faces]
    return lacking + ([] if timed else [f"{precision}: not timed"])


def _of_oracle(record: BoardRecord, card: ModelCard) -> list[str]:
    found = record.oracle
    if found is None:
        return []  # its part says why
    lacking = []
    if found.graph_sha256 != card.graphs[graph_for("int8", record.target)].sha256:
        lacking.append("oracle: of another graph than the one that ships")
    if found.draws < DRAWS:
        lacking.append(f"oracle: {found.draws} legal backends, {DRAWS} are needed")
    if found.from_exact > found.legal or found.illegal:
        lacking.append(f"oracle: {found.from_exact:.3g} from the exact logits, {found.legal:.3g} is legal")
    return lacking
