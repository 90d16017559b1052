"""Errors: each ends a command with the exit code of the design."""

from __future__ import annotations

import pytest

from runtime.errors import BadConfig, BadInput, BadModel, GpuLost, MienError, RestartNeeded, Unavailable


@pytest.mark.parametrize(("kind", "code"), [
    (MienError, 1), (BadInput, 2), (BadConfig, 2), (BadModel, 2), (Unavailable, 3), (GpuLost, 3),
    (RestartNeeded, 75)])
def test_each_error_has_its_exit_code(kind: type[MienError], code: int) -> None:
    assert kind("expected this, found that").exit_code == code


def test_one_except_catches_every_error() -> None:
    assert all(issubclass(kind, MienError) for kind in (BadInput, BadConfig, BadModel, Unavailable))


def test_a_missing_library_is_no_bad_input() -> None:
    assert not issubclass(Unavailable, BadInput)
