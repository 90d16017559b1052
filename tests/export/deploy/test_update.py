"""One device that is older than the workstation, or whose service does not start: the real verbs, called without ssh.

Over a real ssh server: tests/faults/test_deploy_17_23_50_54.py.
"""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import BinaryIO

import pytest
from bundles import Release, make_release, trust

import mien
from export.deploy.remote import Host
from export.deploy.update import Plan, update
from runtime.bundle.unpack import check_bundle
from runtime.slots import asked_health, canary
from runtime.slots.asked_health import Answer
from runtime.slots.slots import Slots


class Here(Host):
    """A device without ssh; `unknown` is a verb that its mien does not have yet."""

    unknown = ""

    def run(self, arguments: list[str], seconds: float, stdin: BinaryIO | None = None) -> tuple[int, str, str]:
        words = ["not-yet" if word == self.unknown else word for word in arguments[1:]]
        out, said = io.StringIO(), io.StringIO()
        with (redirect_stdout(out), redirect_stderr(said), pytest.MonkeyPatch.context() as patched,
              tempfile.TemporaryFile() as sent):  # a descriptor, as ssh gives
            if stdin:
                shutil.copyfileobj(stdin, sent)
                sent.seek(0)
                patched.setattr("sys.stdin", io.TextIOWrapper(sent))
            try:
                code = mien.main(words)
            except SystemExit as error:  # argparse's
                code = int(str(error.code))
        return code, out.getvalue(), said.getvalue()


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return make_release(tmp_path)


@pytest.fixture
def device(tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> Here:
    """One on which every slot is prepared, passes its canary, and is healthy where it was started."""
    trust(tmp_path / "opt" / "allowed_signers", release.key)
    monkeypatch.setattr("export.deploy.update._preflight", lambda *_: None)
    for step in ("prepare", "canary"):
        monkeypatch.setattr(canary, step, lambda *_, **__: "")
    monkeypatch.setattr(asked_health, "ask_health", lambda bundle: Answer("healthy", "running"))
    return Here("device", prefix=str(tmp_path / "opt"))


def plan_of(release: Release, restart: str) -> Plan:
    with open(release.path, "rb") as stream:
        signed = check_bundle(stream, release.signers)
    return Plan(release.path, signed, minutes=1e-4, poll=0.05, restart=restart, reserve_mb=0)


def counts_a_start(device: Here, slot: str) -> str:
    """A command that starts a service, as its unit counts it."""
    state = Path(device.prefix) / "state"
    state.mkdir()
    (state / "fresh").write_text(json.dumps({"slot": slot, "starts": 1}))
    return f"cp {state}/fresh {state}/starts.json"


@pytest.mark.parametrize("unknown", ["", "restart"])
def test_a_base_that_knows_no_restart_is_updated_all_the_same(
    unknown: str, device: Here, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Here, "unknown", unknown)
    plan = plan_of(release, counts_a_start(device, release.manifest.slot()))
    found = update(device, plan, lambda *_: None)
    assert (found.outcome, found.step) == ("committed", "watch"), found


def test_a_rollback_that_cannot_be_ended_keeps_no_good_bundle_away(device: Here, release: Release) -> None:
    slots = Slots(Path(device.prefix))
    for name in ("0.8-old", "0.9-bad"):
        (slots.bundle(name)).mkdir(parents=True)
        older = release.manifest.encode().replace(b"1.4.0", name[:3].encode())
        (slots.bundle(name) / "manifest.json").write_bytes(older)
    slots.journal.append("0.8-old", "committed", "0.8")
    slots.link.symlink_to("slots/0.8-old")
    slots.journal.append("0.9-bad", "rolling-back", "0.9", "to 0.8-old: it blinked")
    starts = counts_a_start(device, release.manifest.slot())
    plan = plan_of(release, f"sh -c 'readlink {slots.link} | grep -q 1.4.0 && {starts}'")
    steps = list[tuple[str, str]]()
    found = update(device, plan, lambda *step: steps.append(step))
    assert found.outcome == "committed" and slots.current() == release.manifest.slot(), (found, steps)
    assert any(name == "watch" and "found exit 1" in detail for name, detail in steps)


def test_a_bundle_that_vanishes_fails_its_device_alone(device: Here, release: Release) -> None:
    plan = plan_of(release, "true")
    release.path.unlink()
    found = update(device, plan, lambda *_: None)
    assert found.outcome == "failed" and found.detail.endswith("No such file or directory"), found


def test_a_device_where_nobody_would_restart_the_service_is_told_before_anything_is_sent(
    device: Here, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.slots.restart.SOCKET", tmp_path / "none.sock")
    plan = dataclasses.replace(plan_of(release, ""), restart=None)
    found = update(device, plan, lambda *_: None)
    assert (found.outcome, found.step) == ("failed", "preflight") and "mien-restart.socket" in found.detail
    assert Slots(Path(device.prefix)).state(release.manifest.slot()) is None
