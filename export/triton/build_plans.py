"""Graphs → the shell script that has TensorRT compile them where they will run. Runs nothing itself.

trtexec stands in NVIDIA's containers; its flags are those of TensorRT 10. Unverified: no GPU was here to run it.
https://github.com/NVIDIA/TensorRT/tree/main/samples/trtexec
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

HEAD = """#!/bin/sh
# Compiles each graph for the GPU and with the TensorRT that are here: run it inside the container that will serve.
# A plan of another GPU or another TensorRT does not load. It is executable code: let only the server's owner write it.
set -eu
cd "$(dirname "$0")"

build() {  # graph, its SHA-256, plan, input, smallest, usual and largest shape
    echo "$2  $1" | sha256sum --check --quiet -
    mkdir -p "$(dirname "$3")"
    "${TRTEXEC:-trtexec}" --onnx="$1" --stronglyTyped --noTF32 --skipInference \\
        --minShapes="$4:$5" --optShapes="$4:$6" --maxShapes="$4:$7" --saveEngine="$3.part"
    mv "$3.part" "$3"
}

"""


@dataclass(frozen=True)
class Plan:
    """One graph to compile: paths under the repository, its hash, and its input's name, shape and batches."""

    name: str
    graph: str
    plan: str
    sha256: str
    input_name: str
    dims: tuple[int, ...]
    batches: tuple[int, int, int]

    def command(self) -> str:
        """Return the script's line."""
        shapes = ["x".join(map(str, (batch, *self.dims))) for batch in self.batches]
        return shlex.join(["build", self.graph, self.sha256, self.plan, self.input_name, *shapes])


def build_script(plans: Sequence[Plan]) -> bytes:
    """Return the script, which leaves a plan whole or not at all."""
    return (HEAD + "\n".join(plan.command() for plan in plans) + "\n").encode()
