"""The boards' records as tables: docs/devices.md shows them, and a row of `devices.yaml` names the one that proves it.

`python -m export.board.table` brings both up to date with docs/boards. Knows nothing of what proves a row
(`evidence.py`).
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

from export.board.evidence import row_of, shortfalls, verified_by
from export.board.record import BoardRecord, read_record, record_name
from runtime.bench.against import BUSY
from runtime.card import PRECISIONS, ModelCard, load_model
from runtime.command_line import say
from runtime.durable import write_text
from runtime.engines.devices import TABLE, as_markdown, load_platforms
from runtime.errors import DONE, BadInput, MienError
from runtime.machine import ROOT

BOARDS, PAGE = ROOT / "docs/boards", ROOT / "docs/devices.md"
BEGIN, END = "<!-- boards: python -m export.board.table writes what follows -->\n", "<!-- boards end -->\n"
MOST_SHOWN = 4  # shortfalls in a cell


def read_boards(folder: Path = BOARDS) -> dict[str, BoardRecord]:
    """Return every record by file name, sorted. Raises BadInput for one that is none, or goes by another's name."""
    records = {path: read_record(path) for path in sorted(folder.glob("*.json"))}
    for path, record in records.items():
        if path.name != record_name(record):  # one of a device, release and version: a newer one takes its place
            raise BadInput(f"expected this record under the name {record_name(record)}, found {path}; rename it")
    return {path.name: record for path, record in records.items()}


def with_records(yaml: str, proofs: dict[str, str]) -> str:
    """Return devices.yaml's text with `record` under each platform that one proves, and under no other."""
    lines = []
    for line in yaml.splitlines(keepends=True):
        if re.match(r" {4}record: ", line):
            continue
        lines.append(line)
        if (platform := re.match(r" {2}- platform: (.+)\n", line)) and platform[1] in proofs:
            lines.append(f"    record: {proofs[platform[1]]}\n")
    return "".join(lines)


def page_with(page: str, platforms: str, boards: str) -> str:
    """Return docs/devices.md with both tables in place. Raises BadInput where it lacks a place for one."""
    old = re.search(r"^\| platform \|.*\n(?:\|.*\n)+", page, re.M)
    if old is None or page.count(BEGIN) != 1 or page.count(END) != 1:
        raise BadInput(f"expected a table of platforms, {BEGIN.strip()} and {END.strip()} in docs/devices.md, found "
                       "otherwise; restore them")
    page = page[: old.start()] + platforms + page[old.end():]
    return page.partition(BEGIN)[0] + BEGIN + boards + END + page.partition(END)[2]


def boards_markdown(records: dict[str, BoardRecord], card: ModelCard) -> str:
    """Return two tables: what ran on GPUs, and what was measured on CPUs, each record with what it proves."""
    on_gpu = {name: record for name, record in records.items() if record.target != "cpu"}
    on_cpu = {name: record for name, record in records.items() if record.target == "cpu"}
    text = "\n### GPUs\n\n"
    text += _table(on_gpu, card) if on_gpu else "No record of a GPU has come in yet.\n"
    text += "\n### CPUs, which verify no row\n\n" + (_table(on_cpu, card) if on_cpu else "None.\n")
    return text + "\n### Compiled ahead of time, not run\n\n" + _table_of_builds(records) + "\n"


def _table(records: dict[str, BoardRecord], card: ModelCard) -> str:
    lines = ["| record | device | runs with | precision | worst \\|Δlogit\\| of allowed | labels as PyTorch | layers "
             "as asked / not / opaque | ms at batch 1 | faces/s at batch 8 | verifies |", "|" + "---|" * 10]
    for name, record in records.items():
        for precision in PRECISIONS:
            lines.append("| " + " | ".join((*_head(name, record), precision, *_figures(record, precision),
                                            _verdict(record, card))) + " |")
    return "\n".join(lines) + "\n"


def _head(name: str, record: BoardRecord) -> tuple[str, str, str]:
    facts = record.facts
    if record.target == "cpu":
        runner = f"onnxruntime {facts.get('onnxruntime', '?')}"
        return f"[{record.made}](boards/{name})", facts.get("processor", "?"), runner
    device = facts.get("gpu", "?") + (f", L4T {facts['l4t']}" if "l4t" in facts else "")
    compilers = ", ".join(dict.fromkeys(build.compiler for build in record.builds)) or "?"
    return f"[{record.made}](boards/{name})", device, f"{record.target} {compilers}"


def _figures(record: BoardRecord, precision: str) -> tuple[str, ...]:
    numerics = next((n for n in record.numerics if n.precision == precision), None)
    layers = next((n for n in record.layers if n.precision == precision), None)
    times = {t.batch: t for t in record.bench if t.precision == precision}
    slow = [word for word, is_so in (("throttled", record.throttled), (
        "busy", any(t.waited_for_core > BUSY for t in times.values()))) if is_so]
    return (
        f"{numerics.worst:.2g} of {numerics.bound:.2g}" if numerics else "–",
        f"{numerics.labels_kept} of {numerics.faces}" if numerics else "–",
        f"{layers.as_asked} / {layers.not_as_asked} / {layers.opaque}" if layers else "–",
        " ".join((f"{times[1].p50:.2f}", *slow)) if 1 in times else "–",
        f"{times[8].faces_per_second:.0f}" if 8 in times else "–",
    )


def _table_of_builds(records: dict[str, BoardRecord]) -> str:
    lines = ["| record | compiler | precision | for | bytes |", "|---|---|---|---|---|"]
    lines += [f"| [{record.made}](boards/{name}) | {build.target} {build.compiler} | {build.precision} | "
              f"{', '.join(build.gpus)} | {build.engine_bytes:,} |"
              for name, record in records.items() for build in record.ahead_of_time]
    return "\n".join(lines) + "\n" if len(lines) > 2 else "None.\n"


def _verdict(record: BoardRecord, card: ModelCard) -> str:
    lacking = shortfalls(record, card)
    if not lacking:
        row = row_of(record)
        return row.platform if row else "nothing"
    more = f"; and {len(lacking) - MOST_SHOWN} more" if len(lacking) > MOST_SHOWN else ""
    return f"nothing: {'; '.join(lacking[:MOST_SHOWN])}{more}"


def current(yaml: str, page: str, records: dict[str, BoardRecord], card: ModelCard) -> tuple[str, str]:
    """Return devices.yaml and docs/devices.md as these records make them."""
    proofs = verified_by(records, card)
    rows = tuple(replace(row, record=proofs.get(row.platform, "")) for row in load_platforms())
    return with_records(yaml, proofs), page_with(page, as_markdown(rows), boards_markdown(records, card))


def main() -> int:
    """Write both files; an error is one line."""
    try:
        records = read_boards()
        yaml, page = current(TABLE.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8"), records,
                             load_model(Path("mien-light")).card)
    except MienError as error:
        say(f"mien: {error}")
        return error.exit_code
    write_text(TABLE, yaml)
    write_text(PAGE, page)
    say(f"{len(records)} records under {BOARDS}: wrote {TABLE} and {PAGE}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
