"""Keys: whatever changes an engine's bytes changes the key, and nothing else does."""

from __future__ import annotations

import dataclasses
import json

import pytest
from cached_engines import SomeDevice, some_key

from runtime.engines.compile import CompileRequest
from runtime.engines.engine_key import BOUNDS

CHANGES = [
    {"graph": b"grapi"}, {"version": "10.3.1"}, {"device": SomeDevice(name="Orin Nano")},
    {"device": SomeDevice(sm="sm86")}, {"device": SomeDevice(cuda="13.2")}, {"target": "tensorrt-rtx"},
    {"input_name": "pixels"}, {"face_shape": (3, 48, 48)}, {"batches": (1, 4, 8)}, {"batches": (1, 1, 1)},
    {"workspace_bytes": 1 << 20}]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_what_changes_the_engine_changes_the_key(change: dict) -> None:
    assert some_key(**change).digest() != some_key().digest()


@pytest.mark.parametrize("change", [{"timeout_seconds": 1.0}, {"memory_bytes": 1}, {"timing_cache": "/a"},
                                    {"inspect": True}], ids=str)
def test_what_bounds_or_hastens_a_build_or_looks_at_the_engine_does_not(change: dict) -> None:
    assert some_key(**change).digest() == some_key().digest()


def test_whether_memory_is_shared_follows_from_the_gpu() -> None:
    assert some_key(device=SomeDevice(integrated=False)).digest() == some_key().digest()


def test_every_field_of_a_request_counts_unless_it_is_named_a_bound() -> None:
    fields = {field.name for field in dataclasses.fields(CompileRequest)}
    assert fields > BOUNDS and set(some_key().request) == fields - BOUNDS


def test_a_key_reads_back_from_json_as_it_is() -> None:
    assert json.loads(json.dumps(some_key().as_json())) == some_key().as_json()


def test_a_key_is_said_in_words() -> None:
    assert str(some_key()) == "tensorrt 10.3.0 on Orin (sm87, CUDA 12.6)"
