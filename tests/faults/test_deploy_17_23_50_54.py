"""Faults 17, 23, 50–54: mixed and hostile bundles, crash loops, broken connections, wrong keys, bad canaries, replays.

The device is a real OpenSSH server on loopback; what runs there is the real device-side mien. After each fault the old
or the new slot runs, and deploying again ends as it should.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bundles import kiosk_files, make_key, stream_of, write_kiosk
from device import Device
from tiny_model import TinyNetwork, write_tiny_card, write_tiny_model

import mien
from runtime.bundle.archive import END, header_of, padding
from runtime.slots.slots import Slots
from runtime.slots.watch import begin

Record = Callable[[str, object], None]
# each step, and the second status, which asks how it ended
STEPS = [("doctor", 1), ("status", 1), ("receive", 1), ("verify", 1), ("prepare", 1), ("canary", 1), ("switch", 1),
         ("restart", 1), ("commit", 1), ("status", 2)]
WHEN = ("before", "during", "after")
QUICK = ["--minutes", "0.005", "--poll", "0.2", "--frames", "3", "--reserve-mb", "1", "--patience", "1",
         "--starts", "2"]


class Site:
    """A device with 1.0 committed and running, and a bundle 1.1 for it."""

    def __init__(self, folder: Path):
        self.folder, self.device = folder, Device(folder / "device")
        self.slots = Slots(self.device.prefix, reserve_bytes=0)
        self.old = self.bring("1.0", 0)
        subprocess.run([self.device.restart], check=True)
        self.bundle = folder / "new.mien"
        self.files = kiosk_files(folder, self.device.kiosk_port, 1)
        self.new = write_kiosk(self.bundle, self.device.key, "1.1", self.files).slot()

    def deploy(self, *flags: str, bundle: Path | None = None) -> int:
        return mien.main(["deploy", str(bundle or self.bundle), *self.device.flags(), *QUICK, *flags])

    def runs(self) -> str:
        """The slot that the service runs, which must be the current one."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if (found := self.device.running_slot()) and found == self.slots.current():
                return {self.old: "old", self.new: "new"}.get(found, found)
            time.sleep(0.1)
        return "neither"

    def answers(self) -> str:
        """The slot that the service runs, current or not; it may just be starting."""
        deadline = time.monotonic() + 20
        while not (found := self.device.running_slot()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def bring(self, version: str, seed: int, commit: bool = True) -> str:
        """Make a version current without ssh and without trying it, which costs seconds."""
        path = self.folder / f"{version}.mien"
        write_kiosk(path, self.device.key, version, kiosk_files(self.folder, self.device.kiosk_port, seed))
        slot = self.slots.receive(stream_of(path))
        self.slots.verify(slot)
        self.slots.step(slot, ("verified",), "prepared", lambda: "")
        self.slots.step(slot, ("prepared",), "canary", lambda: "")
        self.slots.switch(slot, lambda: begin(self.slots, slot, self.device.prefix / "state"))
        if commit:
            with self.slots.alone():
                self.slots.commit("by hand")
        return slot


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if not Path("/usr/sbin/sshd").exists():
        pytest.skip("no /usr/sbin/sshd: this test deploys to a real OpenSSH server (apt install openssh-server)")
    made = Site(tmp_path)
    yield made
    made.device.close()


def observe(record: Record, fault: str, injected: str, observed: object) -> None:
    for name, value in (("fault", fault), ("injected", injected), ("observed", observed)):
        record(name, str(value))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_deployment_ends_committed_and_doing_it_again_does_nothing(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site.deploy("--dry-run") == 0
    assert "upload, verify, prepare, canary, switch" in said(capsys) and site.slots.state(site.new) is None
    assert site.deploy() == 0 and site.runs() == "new"
    assert site.slots.state(site.new) == "committed"
    lines = len(site.slots.journal.read())
    assert site.deploy() == 0 and len(site.slots.journal.read()) == lines
    assert mien.main(["deploy", "rollback", *site.device.flags()]) == 0 and site.runs() == "old"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize(("step", "nth"), STEPS)
def test_51_ssh_drops_at_each_step(site: Site, step: str, nth: int, when: str, record_property: Record) -> None:
    dropped(site, step, when, record_property, nth)


def test_51_ssh_drops_while_a_bundle_is_sent(site: Site, record_property: Record) -> None:
    dropped(site, "receive", "during", record_property)


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
def test_51_ssh_drops_in_a_rollback(site: Site, when: str, record_property: Record) -> None:
    site.bring("1.1", 1)
    subprocess.run([site.device.restart], check=True)
    site.device.fault.write_text(f"rollback {when} 1")
    code = mien.main(["deploy", "rollback", *site.device.flags()])
    assert code == 1 and not site.device.fault.exists() and site.slots.current() in (site.old, site.new)
    mien.main(["deploy", "rollback", *site.device.flags()])  # 1 where it was done before the answer was lost
    assert site.runs() == "old" and site.slots.state(site.new) == "rolled-back"
    observe(record_property, "51 ssh drops", f"{when} rollback", "old or new ran; asked again, the old one runs")


@pytest.mark.slow
@pytest.mark.parametrize("when", WHEN)
def test_51_ssh_drops_while_a_bad_slot_is_rolled_back(site: Site, when: str, record_property: Record) -> None:
    site.bring("1.1", 1, commit=False)
    site.device.says(site.new, {"state": "degraded", "troubles": {"engine": "fell back to the CPU"}})
    site.device.fault.write_text(f"commit {when} 2")
    assert site.deploy("--minutes", "1", "--patience", "0.2") == 1
    site.device.fault.unlink(missing_ok=True)
    assert site.deploy("--minutes", "1", "--patience", "0.2") == 1 and site.runs() == "old"
    assert site.slots.state(site.new) == "rolled-back"
    observe(record_property, "51 ssh drops", f"{when} the look that goes back", "the rerun ended with the old one")


def dropped(site: Site, step: str, when: str, record: Record, nth: int = 1) -> None:
    site.device.fault.write_text(f"{step} {when} {nth}")
    code = site.deploy()
    after, current = site.answers(), site.slots.current()
    assert code == 1 and not site.device.fault.exists()
    assert after in (site.old, site.new) and current in (site.old, site.new)
    assert site.deploy() == 0 and site.runs() == "new" and site.slots.state(site.new) == "committed"
    what = f"{when} {step}" if nth == 1 else f"{when} {step} number {nth}"
    observe(record, "51 ssh drops", what, "it ended with 1; old or new ran; the rerun committed")


def test_52_wrong_or_changed_host_key(site: Site, capsys: pytest.CaptureFixture[str], record_property: Record) -> None:
    site.device.know_host(make_key(site.folder / "somebody"))
    lines = len(site.slots.journal.read())
    assert site.deploy() == 1
    assert "unreachable" in said(capsys) and len(site.slots.journal.read()) == lines
    (site.device.folder / "known_hosts").write_text("")  # never seen before: no question, no trust
    assert site.deploy() == 1 and "unreachable" in said(capsys)
    assert site.runs() == "old"
    site.device.know_host(site.device.folder / "host")
    assert site.deploy("--dry-run") == 0
    observe(record_property, "52 host key", "another key; no key", "unreachable, nothing sent; the old slot runs")


def test_53_a_failing_canary_leaves_the_old_slot(
    site: Site, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    model = write_tiny_model(site.folder / "wrong", TinyNetwork.random(7))
    (model / "fp32.onnx").write_bytes(TinyNetwork.random(8).graph().SerializeToString())
    write_tiny_card(model)  # every hash fits; the engine does not say what the golden faces do
    files = {**site.files, **{f"models/tiny/{path.name}": path.read_bytes() for path in model.iterdir()}}
    bad = write_kiosk(site.folder / "bad.mien", site.device.key, "1.2", files).slot()
    assert site.deploy(bundle=site.folder / "bad.mien") == 1
    entry = site.slots.require(bad)
    assert entry.state == "failed" and "golden" in entry.reason and "golden" in said(capsys)
    assert site.runs() == "old"
    observe(record_property, "53 failing canary", "a model whose graph is another's", entry.reason)


def test_53_a_good_canary_and_bad_minutes_roll_back(
    site: Site, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    site.device.says(site.new, {"state": "degraded", "troubles": {"engine": "fell back to the CPU"}})
    assert site.deploy("--minutes", "1") == 1
    reason = site.slots.require(site.new).reason
    assert "rolled-back" in said(capsys) and "fell back" in reason and site.runs() == "old"
    observe(record_property, "53 bad minutes", "healthy canary, then degraded", f"rolled back: {reason}")


def test_53_a_slot_with_which_the_service_does_not_restart_is_rolled_back(
    site: Site, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    site.bring("1.1", 1, commit=False)  # as far as the switch
    script = site.device.restart.read_text()
    refuses = f"case $(readlink {site.device.prefix}/current) in *{site.new}) echo 'Job failed.' >&2; exit 3;; esac"
    site.device.restart.write_text(script.replace("#!/bin/sh\n", f"#!/bin/sh\n{refuses}\n"))
    assert site.deploy() == 1 and site.runs() == "old"
    reason = site.slots.require(site.new).reason
    assert "found exit 3: Job failed." in reason and f"rolled-back  watch  {site.old} runs again" in said(capsys)
    observe(record_property, "53 no restart", "a restart that fails with the new slot", f"rolled back: {reason}")


def test_50_crash_loop_of_a_new_bundle(site: Site, record_property: Record) -> None:
    site.device.says(site.bring("1.1", 1, commit=False), "crash")
    for _ in range(4):  # systemd starts it again and again
        subprocess.run([site.device.restart], check=True)
    done = subprocess.run([site.device.mien, "slot", "commit", "--prefix", site.device.prefix, "--starts", "3",
                           "--patience", "3600", "--restart", site.device.restart, "--json"], check=True, text=True,
                          capture_output=True)
    decision = json.loads(done.stdout)
    assert decision["verdict"] == "rolled-back" and "4 times" in decision["reason"] and site.runs() == "old"
    observe(record_property, "50 crash loop", "a service that ends at once, started 4 times", decision["reason"])


def test_54_an_old_bundle_is_refused_unless_forced(
    site: Site, capsys: pytest.CaptureFixture[str], record_property: Record
) -> None:
    write_kiosk(site.folder / "old.mien", site.device.key, "0.9", site.files)
    assert site.deploy(bundle=site.folder / "old.mien") == 1
    text = said(capsys)
    assert "expected a version above 1.0" in text and site.runs() == "old"
    assert receive(site, (site.folder / "old.mien").read_bytes(), "--force").returncode == 0
    observe(record_property, "54 downgrade, replay", "a signed bundle of a lower version",
            text.strip().splitlines()[-1])


def receive(site: Site, content: bytes, *flags: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([site.device.mien, "slot", "receive", "--prefix", site.device.prefix, "--reserve-mb", "1",
                           *flags], input=content, capture_output=True, check=False)


def untouched(site: Site) -> dict[str, Any]:
    return {"slots": sorted(p.name for p in site.slots.folder.iterdir()), "current": site.slots.current(),
            "beside": sorted(p.name for p in site.folder.iterdir())}


def test_17_files_of_two_bundles_mixed(site: Site, record_property: Record) -> None:
    other = site.folder / "other.mien"
    files = kiosk_files(site.folder, site.device.kiosk_port, 2)
    write_kiosk(other, site.device.key, "1.2", files)
    first, second = site.bundle.read_bytes(), other.read_bytes()
    before = untouched(site)
    done = receive(site, first[:len(first) // 2] + second[len(first) // 2:])
    assert done.returncode == 2 and untouched(site) == before
    slot = site.slots.receive(stream_of(site.bundle))  # and on the disk, after it was unpacked
    graph = "models/tiny/fp32.onnx"
    (site.slots.bundle(slot) / graph).write_bytes(files[graph])
    told = subprocess.run([site.device.mien, "slot", "verify", slot, "--prefix", site.device.prefix],
                          capture_output=True, text=True, check=False)
    assert told.returncode == 2 and graph in told.stderr and site.runs() == "old"
    observe(record_property, "17 two bundles mixed", "half a stream; one file on the disk", told.stderr.strip())


@pytest.mark.parametrize("name", ["../escape", "/tmp/mien-escape", "models/../../escape"])
def test_23_an_archive_that_leaves_its_folder(site: Site, name: str, record_property: Record) -> None:
    whole = site.bundle.read_bytes()[:-len(END)]
    before = untouched(site)
    done = receive(site, whole + header_of(name, 4) + b"evil" + padding(4) + END)
    assert done.returncode == 2 and untouched(site) == before and not Path("/tmp/mien-escape").exists()
    observe(record_property, "23 hostile archive", f"a member named {name}", done.stderr.decode().strip())


def test_23_a_device_node_a_link_and_a_bomb(site: Site, record_property: Record) -> None:
    whole = site.bundle.read_bytes()
    before = untouched(site)
    huge = header_of("manifest.json", 7 << 30)
    kinds = {"a device": b"3", "a symbolic link": b"2", "a folder": b"5", "a hidden header": b"x"}
    for what, kind in kinds.items():
        done = receive(site, _typed(whole, kind))
        assert done.returncode == 2 and what in done.stderr.decode()
    seen = [receive(site, content) for content in (huge + bytes(4096), b"", bytes(1024))]
    assert {done.returncode for done in seen} == {2} and untouched(site) == before and site.runs() == "old"
    observe(record_property, "23 hostile archive", "a device node, a link, 7 GiB of manifest, nothing, zeros",
            seen[0].stderr.decode().strip())


def _typed(content: bytes, kind: bytes) -> bytes:
    """Return a bundle whose third member is of another kind, its checksum right."""
    at = content.index(b"NOTICE.txt\0")
    block = content[at:at + 156] + kind + content[at + 157:at + 512]
    blank = block[:148] + b" " * 8 + block[156:]
    block = blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]
    return content[:at] + block + content[at + 512:]
