"""One run of `mien bench`: opens what was asked, proves each engine on the golden faces, times it, writes one record.

Knows nothing of how times are drawn or compared.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.bench.accuracy import Checks, accuracy_of
from runtime.bench.alone import Opening, memory_alone, power_alone
from runtime.bench.interleave import WARM_UP_SECONDS, Entrant, bench
from runtime.card import PRECISIONS, Model, load_model
from runtime.engines import graph_for, open_engine
from runtime.errors import DONE, MienError
from runtime.golden import require_agreement
from runtime.machine import describe_machine
from runtime.supervision.power import throttling

USUAL_BATCHES = (1, 8)


@dataclass(frozen=True)
class Plan:
    """What is timed: models, precisions (none: all that a model has), a target, batches, rounds, CPU threads.

    Batches: none takes those of 1 and 8 that every model is made for; a detector reads one picture at a time.

    `checks` are records of `mien check`, which know accuracies; `root` stands in for `/` where power and throttling
    are read.
    """

    models: tuple[Path, ...]
    precisions: tuple[str, ...]
    target: str
    batches: tuple[int, ...]
    rounds: int
    threads: int = 1
    warm_up_seconds: float = WARM_UP_SECONDS
    checks: Checks = field(default_factory=dict)
    root: Path = Path("/")


def run_bench(plan: Plan) -> tuple[dict[str, Any], int]:
    """Return the record and an exit code: 0, or that of the first engine that could not be opened or departs.

    Such an engine has a row with its status and no times: a fast wrong answer is not worth timing. Raises BadInput.
    """
    models = [load_model(path) for path in plan.models]
    largest = min((model.card.batches[-1] for model in models), default=1)
    plan = replace(plan, batches=plan.batches or tuple(size for size in USUAL_BATCHES if size <= largest))
    slow_before = throttling(plan.root)
    failures: list[dict[str, Any]] = []
    code = DONE
    with ExitStack() as opened:
        entrants, facts = [], {}
        for model in models:
            for precision in plan.precisions or tuple(p for p in PRECISIONS if graph_for(p, plan.target) in
                                                      model.card.graphs):
                name = f"{model.card.name} {precision}"
                try:
                    entrant, facts[name] = _open(plan, model, precision, opened)
                    entrants.append(entrant)
                except MienError as error:
                    failures.append({"name": name, "status": str(error)})
                    code = code or error.exit_code
        rows = [row for batch in plan.batches for row in
                (bench(entrants, batch, plan.rounds, plan.warm_up_seconds) if entrants else ())]
        for row in rows:
            row |= facts[row["name"]]
        for entrant in entrants:
            power = {batch: power_alone(entrant, batch, plan.root) for batch in plan.batches}
            for row in rows:
                if row["name"] == entrant.name and power[row["batch"]]:
                    row["power"] = power[row["batch"]]
    record = {"target": plan.target, "threads": plan.threads, "rounds": plan.rounds, "rows": rows + failures,
              "throttling": {"before": list(slow_before), "after": list(throttling(plan.root))},
              "made_on": describe_machine(plan.root)}
    return record, code


def _open(plan: Plan, model: Model, precision: str, opened: ExitStack) -> tuple[Entrant, dict[str, Any]]:
    """Open one engine and prove it; returns what its rows say besides times."""
    engine = open_engine(model, precision, plan.target, plan.threads)
    opened.callback(engine.close)
    graph = graph_for(precision, engine.target)
    entry = model.card.graphs[graph]
    status = "not proven: the card has no golden faces"
    if model.card.golden and graph in model.card.golden_bound:
        agreement = require_agreement(model, engine, graph)
        status = f"agrees with PyTorch (|Δlogit| {agreement.largest:.2g})"
    accuracy = accuracy_of(model, graph, plan.checks)
    memory = memory_alone(Opening(str(model.directory), precision, engine.target, plan.threads, max(plan.batches)))
    return (Entrant(f"{model.card.name} {precision}", model, engine, entry.bytes),
            {"status": status, "sha256": entry.sha256, "accuracy": accuracy.share, "accuracy_on": accuracy.on,
             "memory": memory})
