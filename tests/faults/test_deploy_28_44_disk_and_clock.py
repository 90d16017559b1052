"""Faults 28 and 44 for updates: the disk fills in the middle of a step; a device boots in 1970."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import make_release, write_kiosk

TESTS = Path(__file__).resolve().parent.parent
FAKETIME = next((p for p in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
Record = Callable[[str, object], None]

IN_1970 = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
from slots_killed_at_every_line import Update
assert time.gmtime().tm_year == 1970
for bundle, slot in {bundles!r}:
    update = Update(Path({prefix!r}), Path(bundle))
    update.bring(slot)
    print(update.slots.current() == slot, update.slots.state(slot))
"""


@pytest.fixture
def mounts() -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace here: this test fills a disk of its own (run it as root)")


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(("step", "during", "after"), [
    ("receive", "old", "new"), ("switch", "new", "new"), ("start", "old", "new"), ("roll_back", "old", "old")])
def test_28_the_disk_fills_in_an_update(
    tmp_path: Path, step: str, during: str, after: str, record_property: Record
) -> None:
    program = TESTS / "slots_on_a_full_disk.py"
    done = subprocess.run(["unshare", "--mount", sys.executable, program, tmp_path / "x", step], capture_output=True,
                          text=True, check=True)
    found = json.loads(done.stdout)
    record_property("fault", "28 disk full in an update")
    record_property("injected", f"{step}: a tmpfs without a byte left")
    record_property("observed", f"{found['during']} runs, {found['left']} left over; with room again {found['after']}")
    assert (found["during"], found["after"], found["left"]) == (during, after, [])
    assert found["said"] == ("ENOSPC" if step == "receive" else "")  # the others live on the room that is kept


@pytest.mark.skipif(FAKETIME is None, reason="no libfaketime here: apt-get install faketime")
def test_44_an_update_in_1970(tmp_path: Path, record_property: Record) -> None:
    release, new = make_release(tmp_path, "1.0"), tmp_path / "new.mien"  # signed where the clock is right
    slot = write_kiosk(new, release.key, "1.1", release.files).slot()
    (tmp_path / "opt").mkdir()
    shutil.copyfile(release.signers, tmp_path / "opt" / "allowed_signers")
    program = IN_1970.format(paths=[str(TESTS.parent), str(TESTS)], prefix=str(tmp_path / "opt"), bundles=[
        (str(release.path), release.manifest.slot()), (str(new), slot)])
    # the monotonic clock moves along: libfaketime lets time.sleep hang where that one is left alone
    environment = {**os.environ, "LD_PRELOAD": str(FAKETIME), "FAKETIME": "@1970-01-01 00:00:30"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120,
                          env=environment)
    record_property("fault", "44 an update in 1970")
    record_property("injected", "libfaketime: the clock begins at 1970-01-01, for ssh-keygen too")
    record_property("observed", "two bundles verified, switched to and committed, one after the other")
    assert done.stdout.splitlines() == ["True committed"] * 2, done.stderr
