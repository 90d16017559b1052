"""A backend's integers against what is legal, layer by layer from what that backend gave each layer.

Knows nothing of how the integers were obtained: arrays by tensor name come in. A Q that was not seen is passed with
all that may legally stand there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from calibration.integer_oracle.legal import Rounded
from calibration.integer_oracle.oracle import Oracle
from runtime.errors import BadInput


@dataclass(frozen=True)
class Finding:
    """One tensor: how many elements were seen, differ from the layer's exact integers, had a choice, are illegal.

    largest is the largest |Δ| from the exact value, allowed the largest that is legal; of a float output `differing`
    counts nothing. first: the first illegal element, in words, or "".
    """

    tensor: str
    layer: str
    integer: bool
    elements: int
    differing: int
    undecided: int
    illegal: int
    largest: float
    allowed: float
    first: str = ""

    def __add__(self, other: Finding) -> Finding:
        """Join the findings of two batches of one tensor."""
        return Finding(self.tensor, self.layer, self.integer, self.elements + other.elements,
                       self.differing + other.differing, self.undecided + other.undecided, self.illegal + other.illegal,
                       max(self.largest, other.largest), max(self.allowed, other.allowed), self.first or other.first)


@dataclass(frozen=True)
class Verdict:
    """Every tensor that was seen, in the graph's order."""

    backend: str
    findings: tuple[Finding, ...]

    @property
    def legal(self) -> bool:
        """Is every element a legal one?"""
        return self.first is None

    @property
    def first(self) -> Finding | None:
        """The first tensor with an illegal element: its layer is the one to look at."""
        return next((f for f in self.findings if f.illegal), None)


def judge(oracle: Oracle, faces: np.ndarray, seen: Mapping[str, np.ndarray]) -> Verdict:
    """Hold a backend's tensors, by name, against the oracle: Q outputs (N, …) int8, float outputs (N, …).

    Raises BadInput for an unknown name, another shape or type, or none at all.
    """
    _check_names(oracle, faces, seen)
    found: dict[str, Finding] = {}

    def add(finding: Finding) -> None:
        found[finding.tensor] = found[finding.tensor] + finding if finding.tensor in found else finding

    for batch in oracle.batches(faces):
        def settle(name: str, legal: Rounded, batch: slice = batch) -> np.ndarray | None:
            if name not in seen:
                return None
            integers = seen[name][batch]
            add(_judge_integers(oracle, name, integers, legal, batch.start))
            return integers

        floats = oracle.walk(faces[batch], settle)
        for name in oracle.outputs:
            if name in seen:
                value, slack = floats[name].value, np.broadcast_to(floats[name].slack, floats[name].value.shape)
                add(_judge_floats(oracle, name, seen[name][batch], value, slack, batch.start))
    return Verdict(oracle.backend.name, tuple(found.values()))


def _check_names(oracle: Oracle, faces: np.ndarray, seen: Mapping[str, np.ndarray]) -> None:
    known = {*oracle.quantizers, *oracle.outputs}
    unknown = sorted(set(seen) - known)
    if unknown or not seen:
        raise BadInput(f"expected tensors of the graph to judge, found {', '.join(unknown) or 'none'}; "
                       f"it has {', '.join(sorted(known))}")
    for name, values in seen.items():
        if len(values) != len(faces):
            raise BadInput(f"expected {name} for {len(faces)} faces, found {len(values)}")


def _judge_integers(oracle: Oracle, name: str, integers: np.ndarray, legal: Rounded, start: int) -> Finding:
    if integers.dtype != legal.exact.dtype or integers.shape != legal.exact.shape:
        raise BadInput(f"expected {name} of {legal.exact.shape} {legal.exact.dtype}, found {integers.shape} "
                       f"{integers.dtype}")
    off = np.abs(integers.astype(np.int64) - legal.exact)
    illegal = (integers < legal.low) | (integers > legal.high)
    first = ""
    if illegal.any():
        at = tuple(int(i) for i in np.argwhere(illegal)[0])
        low, high = int(legal.low[at]), int(legal.high[at])
        wanted = f"{low}" if low == high else f"{low} to {high}"
        first = f"face {start + at[0]}, element {at[1:]}: expected {wanted}, found {int(integers[at])}"
    reach = np.asarray(legal.reach)
    return Finding(name, oracle.layer_of(name), True, integers.size, int((off > 0).sum()), int((reach > 0).sum()),
                   int(illegal.sum()), float(off.max(initial=0)), float(reach.max(initial=0)), first)


def _judge_floats(oracle: Oracle, name: str, values: np.ndarray, exact: np.ndarray, slack: np.ndarray,
                  start: int) -> Finding:
    if values.shape != exact.shape:
        raise BadInput(f"expected {name} of {exact.shape}, found {values.shape}")
    off = np.abs(values.astype(np.float64) - exact)
    illegal = ~(off <= slack)  # written so that NaN is illegal
    first = ""
    if illegal.any():
        at = tuple(int(i) for i in np.argwhere(illegal)[0])
        first = (f"face {start + at[0]}, element {at[1:]}: expected {exact[at]:.6g} ± {slack[at]:.2g}, "
                 f"found {values[at]:.6g}")
    return Finding(name, oracle.layer_of(name), False, values.size, 0, int((slack > 0).sum()), int(illegal.sum()),
                   float(off.max(initial=0)), float(slack.max(initial=0)), first)
