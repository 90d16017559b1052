"""Two slots, a link and a journal: what may follow what, and what is refused."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from bundles import HERE, Release, stream_of, write_kiosk

from runtime.bundle.manifest import TARGETS
from runtime.errors import BadInput, MienError
from runtime.slots import journal
from runtime.slots import slots as slots_module
from runtime.slots.journal import Journal
from runtime.slots.slots import Slots

Bring = Callable[..., str]
BROKEN = MienError("expected a good model, found none")


def states(slots: Slots, slot: str) -> list[str]:
    return [entry.state for entry in slots.journal.read() if entry.slot == slot]


def fails() -> str:
    raise BROKEN


def nothing() -> None:
    """Restart nobody."""


def test_a_bundle_goes_from_upload_to_commit(slots: Slots, bring: Bring) -> None:
    slot = bring("1.4.0")
    assert states(slots, slot) == ["uploaded", "verified", "prepared", "canary", "current", "committed"]
    assert (slots.current(), slots.state(slot), slots.previous()) == (slot, "committed", "")
    assert os.readlink(slots.link) == f"slots/{slot}"


def test_two_slots_are_kept(slots: Slots, bring: Bring) -> None:
    made = [bring(version) for version in ("1.0", "1.1", "1.2")]
    assert sorted(p.name for p in slots.folder.iterdir()) == made[1:]
    assert (slots.current(), slots.previous()) == (made[2], made[1])


def test_a_failed_attempt_gives_its_place_to_the_next(
    slots: Slots, bring: Bring, release: Release, tmp_path: Path
) -> None:
    good = bring("1.0")
    write_kiosk(tmp_path / "bad.mien", release.key, "1.1", release.files)
    bad = slots.receive(stream_of(tmp_path / "bad.mien"))
    slots.verify(bad)
    with pytest.raises(MienError):
        slots.step(bad, ("verified",), "prepared", fails)
    assert slots.state(bad) == "failed" and slots.current() == good
    third = bring("1.2", commit=False)
    assert sorted(p.name for p in slots.folder.iterdir()) == [good, third]


def test_a_step_needs_the_one_before(slots: Slots, release: Release) -> None:
    slot = slots.receive(stream_of(release.path))
    with pytest.raises(BadInput, match="which is uploaded"):
        slots.step(slot, ("verified",), "prepared", lambda: "")
    with pytest.raises(BadInput, match="passed its canary"):
        slots.switch(slot)
    assert slots.current() == ""


def test_a_failed_canary_must_be_passed_anew(slots: Slots, bring: Bring, release: Release, tmp_path: Path) -> None:
    bring("1.0")
    write_kiosk(tmp_path / "b.mien", release.key, "1.1", release.files)
    slot = slots.receive(stream_of(tmp_path / "b.mien"))
    slots.verify(slot)
    slots.step(slot, ("verified",), "prepared", lambda: "")
    with pytest.raises(MienError):
        slots.step(slot, ("prepared",), "canary", fails)
    assert "good model" in slots.require(slot).reason
    with pytest.raises(BadInput, match="which is failed"):
        slots.switch(slot)


def test_the_same_bundle_again_is_the_same_slot(slots: Slots, release: Release) -> None:
    first = slots.receive(stream_of(release.path))
    before = os.stat(slots.bundle(first) / "stream.yaml").st_ino
    assert slots.receive(stream_of(release.path)) == first
    assert os.stat(slots.bundle(first) / "stream.yaml").st_ino == before


@pytest.mark.parametrize(("version", "notice"), [("1.3.9", b"seen\n"), ("1.4", b"other\n")])
def test_an_older_version_or_a_second_of_the_same_is_refused(
    slots: Slots, bring: Bring, release: Release, tmp_path: Path, version: str, notice: bytes
) -> None:
    bring("1.4.0")
    write_kiosk(tmp_path / "old.mien", release.key, version, {**release.files, "NOTICE.txt": notice})
    with pytest.raises(BadInput, match="raise the version"):
        slots.receive(stream_of(tmp_path / "old.mien"))
    assert slots.receive(stream_of(tmp_path / "old.mien"), force=True)


def test_what_was_pruned_long_ago_still_counts_as_a_version(slots: Slots, bring: Bring, release: Release,
                                                            tmp_path: Path) -> None:
    bring("2.0")
    bring("1.0")  # forced
    bring("1.1")
    write_kiosk(tmp_path / "b.mien", release.key, "1.5", release.files)
    with pytest.raises(BadInput, match=r"above 2\.0"):
        slots.receive(stream_of(tmp_path / "b.mien"))


def test_a_bundle_for_another_machine_is_refused(slots: Slots, release: Release, tmp_path: Path) -> None:
    other = next(target for target, machine in TARGETS.items() if machine != platform.machine())
    write_kiosk(tmp_path / "b.mien", release.key, "1.0", release.files, other)
    with pytest.raises(BadInput, match=platform.machine()):
        slots.receive(stream_of(tmp_path / "b.mien"))
    assert other != HERE and not any(slots.folder.iterdir())


def test_too_little_room_is_said_before_anything_is_written(slots: Slots, release: Release) -> None:
    with pytest.raises(MienError, match="MiB of disk"):
        Slots(slots.prefix, reserve_bytes=1 << 60).receive(stream_of(release.path))
    assert not any(slots.folder.iterdir()) and not slots.journal.read()


def test_the_link_is_there_at_every_line_of_a_switch(slots: Slots, bring: Bring) -> None:
    bring("1.0")
    missing = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename == slots_module.__file__ and not slots.link.is_dir():
            missing.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        bring("1.1")
    finally:
        sys.settrace(before)
    assert missing == []


def test_a_rollback_returns_to_what_was_committed(slots: Slots, bring: Bring) -> None:
    old, new = bring("1.0"), bring("1.1", commit=False)
    restarted = []
    with slots.alone():
        assert slots.roll_back("it blinked", lambda: restarted.append(slots.current())) == old
    assert restarted == [old] and slots.current() == old
    assert (slots.state(new), slots.require(new).reason) == ("rolled-back", "it blinked")


def test_a_rollback_whose_restart_fails_is_finished_later(slots: Slots, bring: Bring) -> None:
    old, new = bring("1.0"), bring("1.1", commit=False)
    with pytest.raises(MienError), slots.alone():
        slots.roll_back("it blinked", fails)  # type: ignore[arg-type]
    assert slots.interrupted() and slots.current() == old
    with slots.alone():
        assert slots.recover(nothing) == old
    assert slots.state(new) == "rolled-back" and not slots.interrupted()


def test_a_rollback_to_a_slot_that_does_not_start_yields_to_a_good_slot(slots: Slots, bring: Bring) -> None:
    old, new = bring("1.0"), bring("1.1", commit=False)
    with pytest.raises(MienError), slots.alone():
        slots.roll_back("it blinked", fails)  # type: ignore[arg-type]
    good = bring("1.2", commit=False)
    assert (slots.current(), slots.previous(), slots.interrupted()) == (good, old, None)
    assert new not in slots.committed() and slots.state(good) == "current"


def test_a_rollback_that_was_killed_before_it_went_back_is_ended_first(slots: Slots, bring: Bring) -> None:
    old, new = bring("1.0"), bring("1.1", commit=False)
    slots.journal.append(new, "rolling-back", "1.1", f"to {old}: it blinked")
    with pytest.raises(MienError, match="found one that was interrupted; mien slot commit"):
        bring("1.2", commit=False)
    assert slots.current() == new


def test_nobody_returns_to_what_was_rolled_back(slots: Slots, bring: Bring) -> None:
    old, new = bring("1.0"), bring("1.1")
    with slots.alone():
        assert slots.roll_back("asked for", nothing) == old
    with pytest.raises(MienError, match="found none"), slots.alone():
        slots.roll_back("asked again, for the answer was lost", nothing)
    assert (slots.current(), slots.previous()) == (old, "")
    assert bring("1.1") == new and slots.previous() == old  # until it is deployed and committed again


def test_the_slot_that_runs_is_prepared_beside_a_restart_that_waits_for_it(slots: Slots, bring: Bring) -> None:
    slot, done = bring("1.0"), []
    with slots.alone():  # as a look or a rollback, while systemctl waits for mien-prepare.service
        beside = threading.Thread(target=lambda: done.append(slots.step(slot, ("verified",), "prepared", lambda: "x")))
        beside.start()
        beside.join(5)
        assert done == ["x"]


def test_the_first_slot_has_nothing_to_return_to(slots: Slots, bring: Bring) -> None:
    slot = bring("1.0", commit=False)
    with pytest.raises(MienError, match="what runs stays"), slots.alone():
        slots.roll_back("it blinked", nothing)
    assert slots.current() == slot


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    book.append("1.0-a", "uploaded", "1.0")
    with open(book.path, "ab") as file:
        file.write(b'{"slot": "1.0-a", "sta')
    assert [e.state for e in book.read()] == ["uploaded"]
    book.append("1.0-a", "verified", "1.0")
    assert [e.state for e in book.read()] == ["uploaded", "verified"]


@pytest.mark.parametrize("line", [b"\xff", b"[]", b"null", b'{"slot": 1}', b"[" * 100_000, b'{"state": "flying"}'])
def test_a_spoilt_line_is_passed_over(tmp_path: Path, line: bytes) -> None:
    book = Journal(tmp_path / "journal.jsonl")
    book.append("1.0-a", "uploaded", "1.0")
    with open(book.path, "ab") as file:
        file.write(line + b"\n")
    book.append("1.0-a", "verified", "1.0")
    assert [e.state for e in book.read()] == ["uploaded", "verified"]


def test_a_machine_without_boot_ids_writes_anyway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "BOOT_ID", tmp_path / "none")
    assert Journal(tmp_path / "journal.jsonl").append("1.0-a", "uploaded", "1.0").boot == ""


def test_a_slot_that_the_disk_spoilt_is_sent_again(
    slots: Slots, bring: Bring, release: Release, tmp_path: Path
) -> None:
    bring("1.0")
    write_kiosk(tmp_path / "new.mien", release.key, "1.1", release.files)
    slot = slots.receive(stream_of(tmp_path / "new.mien"))
    (slots.bundle(slot) / "manifest.json").write_bytes(b"")  # as after a power cut
    with pytest.raises(BadInput, match="manifest"):
        slots.verify(slot)
    assert slots.state(slot) is None and slots.receive(stream_of(tmp_path / "new.mien")) == slot
    assert slots.verify(slot).manifest.version == "1.1"


def installed(slots: Slots, release: Release, folder: Path, version: str) -> Path:
    """Make a folder as a package has it: one place, whose content changes with the version."""
    path = folder / f"{version}.mien"
    manifest = write_kiosk(path, release.key, version, release.files)
    (folder / "package" / "bundle").mkdir(parents=True, exist_ok=True)
    (folder / "package" / "bundle" / "manifest.json").write_bytes(manifest.encode())
    return folder / "package"


def test_a_package_is_a_slot_until_a_deployment_and_what_that_comes_back_to(
    slots: Slots, bring: Bring, release: Release, tmp_path: Path
) -> None:
    first = slots.adopt(installed(slots, release, tmp_path, "1.0"))
    assert (slots.current(), slots.state(first)) == (first, "committed")
    assert slots.adopt(tmp_path / "package") == first and states(slots, first) == ["committed"]
    second = slots.adopt(installed(slots, release, tmp_path, "1.1"))
    assert (slots.current(), sorted(p.name for p in slots.folder.iterdir())) == (second, [second])
    other = tmp_path / "beside"
    shutil.copytree(tmp_path / "package", other)  # installed again: the same slot, a fresh folder
    assert slots.adopt(other) == second and slots.link.resolve() == other.resolve()
    deployed = bring("1.2")
    assert (slots.current(), slots.previous()) == (deployed, second)
    third = slots.adopt(installed(slots, release, tmp_path, "1.3"))
    assert (slots.current(), slots.previous()) == (deployed, third)
    with slots.alone():
        assert slots.roll_back("asked for", nothing) == third


def test_two_deployments_later_the_package_is_no_slot_and_is_whole(
    slots: Slots, bring: Bring, release: Release, tmp_path: Path
) -> None:
    first = slots.adopt(installed(slots, release, tmp_path, "1.0"))
    kept = [bring("1.1"), bring("1.2")]
    assert sorted(p.name for p in slots.folder.iterdir()) == kept and first not in kept
    assert (tmp_path / "package" / "bundle" / "manifest.json").is_file()


def test_a_folder_without_a_bundle_is_no_package(slots: Slots, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unpacked bundle"):
        slots.adopt(tmp_path)


def test_a_packages_slot_is_on_the_disk_before_the_link_names_it(
    slots: Slots, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[Path, str]] = []
    monkeypatch.setattr(slots_module, "fsync_directory", lambda folder: flushed.append((folder, slots.current())))
    slot = slots.adopt(installed(slots, release, tmp_path, "1.0"))
    assert flushed.index((slots.folder, "")) < flushed.index((slots.prefix, slot))


@pytest.mark.parametrize("action", ["switch", "roll_back"])
def test_a_rename_that_a_kill_left_unflushed_is_flushed_before_it_is_written_down(
    action: str, slots: Slots, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring("1.0")
    slot = bring("1.1", commit=False)
    if action == "switch":
        os.truncate(slots.journal.path, slots.journal.path.read_bytes().rindex(b"\n", 0, -1) + 1)  # killed before it
    else:
        with pytest.raises(MienError), slots.alone():
            slots.roll_back("bad", fails)  # type: ignore[arg-type]
    lines = len(slots.journal.read())
    flushed: list[tuple[Path, int]] = []
    monkeypatch.setattr(slots_module, "fsync_directory",
                        lambda folder: flushed.append((folder, len(slots.journal.read()))))
    if action == "switch":
        slots.switch(slot)
    else:
        slots.recover(nothing)
    assert (slots.prefix, lines) in flushed and len(slots.journal.read()) == lines + 1


def test_another_user_than_the_owner_changes_nothing(
    slots: Slots, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root over ssh: the lock, the slot and the journal would be root's, and the service's timer locked out."""
    slot = bring("1.0")
    before = sorted(path.name for path in slots.prefix.iterdir())
    monkeypatch.setattr(os, "geteuid", lambda: slots.prefix.stat().st_uid + 1)
    with pytest.raises(BadInput, match=r"as the owner of .* found user id"):
        slots.verify(slot)
    assert sorted(path.name for path in slots.prefix.iterdir()) == before
