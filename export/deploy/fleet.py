"""Many devices at once, a few at a time; a line as each step begins, and a table at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from export.deploy.remote import Host
from export.deploy.update import Outcome, Plan, update


def update_all(hosts: Sequence[Host], plan: Plan, at_once: int, say: Callable[[str], None],
               dry_run: bool = False) -> list[Outcome]:
    """Bring every device to the plan's slot; outcomes in the order of the hosts."""
    lock = threading.Lock()

    def one(host: Host) -> Outcome:
        def tell(step: str, detail: str) -> None:
            with lock:
                say(f"{host.name}: {step}{': ' + detail if detail else ''}")

        outcome = update(host, plan, tell, dry_run)
        tell(outcome.outcome, outcome.detail)
        return outcome

    with ThreadPoolExecutor(max_workers=at_once) as pool:
        return list(pool.map(one, hosts))


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the outcomes in columns."""
    rows = [("host", "outcome", "step", "detail"), *((o.host, o.outcome, o.step, o.detail) for o in outcomes)]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip() for row in rows]


def as_dicts(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return plain values for JSON."""
    return [asdict(outcome) for outcome in outcomes]
