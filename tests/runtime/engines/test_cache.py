"""The engine cache: what it hands out is what this machine sealed under that key, or freshly compiled."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from cached_engines import COMMAND, ENGINE, SomeDevice, builder, no_build, some_key
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.engines.cache import CachedEngine, EngineCache
from runtime.engines.device_secret import SECRET_BYTES
from runtime.engines.engine_file import seal
from runtime.errors import BadInput, BadModel, MienError, Unavailable

KEY = some_key()
OTHER = some_key(b"another graph")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines"


@pytest.fixture
def cache(folder: Path) -> EngineCache:
    return EngineCache(folder)


@pytest.fixture
def filled(cache: EngineCache) -> Path:
    """Return the file of KEY's engine in the cache."""
    return cache.get(KEY, builder(), COMMAND).path


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


# keeping

def test_a_missing_engine_is_compiled_and_kept(cache: EngineCache, folder: Path) -> None:
    got = cache.get(KEY, builder(), COMMAND)
    assert (got.engine, got.compiled_now) == (ENGINE, True)
    assert names(folder) == {".lock", f"{KEY.digest()}.engine"} and names(folder.parent) == {"engines", "engines.key"}


def test_a_kept_engine_is_not_compiled_again(cache: EngineCache, filled: Path) -> None:
    found = cache.get(KEY, no_build, COMMAND)
    assert (found.engine, found.compiled_now, found.path) == (ENGINE, False, filled)


def test_the_sidecar_says_what_the_compiler_said_and_for_what(cache: EngineCache) -> None:
    compiled = cache.get(KEY, builder(), COMMAND)
    assert compiled.sidecar == cache.get(KEY, no_build, COMMAND).sidecar
    facts = {"engine_bytes": len(ENGINE), "compiler_version": "10.3.0", "layers": 3, "warnings": ["said once"],
             "build_seconds": 1.5, "build_peak_bytes": 99, "key": KEY.as_json()}
    assert facts.items() <= compiled.sidecar.items()
    assert "content" not in compiled.sidecar


def test_another_key_is_another_engine(cache: EngineCache, filled: Path) -> None:
    assert cache.get(OTHER, builder(b"other"), COMMAND).engine == b"other"
    assert cache.get(KEY, no_build, COMMAND).engine == ENGINE


def test_the_secret_is_not_in_what_is_printed(cache: EngineCache, filled: Path) -> None:
    secret = cache.secret_file.read_bytes()
    assert repr(secret)[2:-1] not in repr(cache.get(KEY, no_build, COMMAND)) + repr(cache)


def test_a_failed_build_keeps_nothing(cache: EngineCache, folder: Path) -> None:
    def fail() -> None:
        raise MienError("the compiler died")

    with pytest.raises(MienError, match="the compiler died"):
        cache.get(KEY, fail, COMMAND)  # type: ignore[arg-type]
    assert names(folder) == {".lock"}


def test_a_replaced_engine_stays_until_the_fresh_one_is_proven(cache: EngineCache, filled: Path) -> None:
    unfit, seen = cache.get(KEY, no_build, COMMAND), []

    def prove(fresh: CachedEngine) -> str:
        seen.append((fresh.engine, fresh.compiled_now, cache.get(KEY, no_build, COMMAND).engine))
        return "proven"

    assert cache.replace(KEY, unfit, builder(b"newer"), prove) == "proven"
    assert seen == [(b"newer", True, ENGINE)] and cache.get(KEY, no_build, COMMAND).engine == b"newer"


@pytest.mark.parametrize("refusal", [MienError("the GPU is out of memory"), BadModel("it does not open either")])
def test_a_fresh_engine_that_is_not_proven_leaves_the_old_one(
        cache: EngineCache, filled: Path, refusal: MienError) -> None:
    def refuse(fresh: CachedEngine) -> None:
        raise refusal

    before = filled.read_bytes()
    with pytest.raises(MienError, match=str(refusal)):
        cache.replace(KEY, cache.get(KEY, no_build, COMMAND), builder(b"newer"), refuse)
    assert filled.read_bytes() == before


def test_what_another_process_put_in_the_place_is_neither_replaced_nor_discarded(
        cache: EngineCache, filled: Path) -> None:
    unfit = cache.get(KEY, no_build, COMMAND)
    cache.replace(KEY, unfit, builder(b"another's"), lambda fresh: None)
    assert cache.replace(KEY, unfit, no_build, lambda found: found.engine) == b"another's"
    cache.discard(KEY, unfit)
    assert cache.get(KEY, no_build, COMMAND).engine == b"another's"


def test_nothing_is_discarded_while_another_process_compiles(cache: EngineCache, filled: Path, folder: Path) -> None:
    unfit = cache.get(KEY, no_build, COMMAND)
    with open(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(target=cache.discard, args=(KEY, unfit))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and filled.exists()
    waiting.join()
    assert not filled.exists()


def test_a_discarded_engine_takes_its_kernels_along(cache: EngineCache, filled: Path, folder: Path) -> None:
    unfit = cache.get(KEY, no_build, COMMAND)
    unfit.kernels.save(b"kernels")
    assert len(names(folder)) == 3
    cache.discard(KEY, unfit)
    assert cache.find(KEY) is None and names(folder) == {".lock"}


def test_kernels_belong_to_their_engine(cache: EngineCache, filled: Path) -> None:
    cache.get(KEY, no_build, COMMAND).kernels.save(b"kernels")
    assert cache.get(KEY, no_build, COMMAND).kernels.load() == b"kernels"
    cache.replace(KEY, cache.get(KEY, no_build, COMMAND), builder(b"newer"), lambda fresh: None)
    assert cache.get(KEY, no_build, COMMAND).kernels.load() is None


# refusing

def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def damage_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def damage_sidecar(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"Orin"', b'"Thor"'))


def damage_other_key(path: Path) -> None:
    """An engine that this device sealed for another GPU, under this one's name."""
    elsewhere = EngineCache(path.parent).get(some_key(device=SomeDevice(sm="sm86")), builder(b"sm86"), COMMAND)
    os.replace(elsewhere.path, path)


def damage_other_kind(path: Path) -> None:
    """JIT kernels, which bear the same seal, under an engine's name."""
    secret = EngineCache(path.parent).secret_file.read_bytes()
    path.write_bytes(seal(b"kernels", {"kernels_of": "engine"}, secret))


def damage_other_device(path: Path) -> None:
    path.write_bytes(seal(ENGINE, {"key": KEY.as_json()}, b"\x07" * SECRET_BYTES))


def damage_bare(path: Path) -> None:
    path.write_bytes(ENGINE)


def damage_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def damage_link(path: Path) -> None:
    os.replace(path, path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def damage_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def damage_secret(path: Path) -> None:
    EngineCache(path.parent).secret_file.unlink()


def damage_torn_secret(path: Path) -> None:
    os.truncate(EngineCache(path.parent).secret_file, 0)


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]
damaged = pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__.removeprefix("damage_"))


@damaged
def test_a_damaged_engine_is_compiled_again_and_said(cache: EngineCache, filled: Path, damage, caplog) -> None:
    damage(filled)
    assert cache.get(KEY, builder(b"again"), COMMAND).compiled_now
    assert cache.get(KEY, no_build, COMMAND).engine == b"again"
    assert [(r.levelno, r.getMessage().endswith("; compiling it again")) for r in caplog.records] == [
        (logging.WARNING, True)]


@damaged
def test_a_damaged_engine_stops_a_service_with_one_line(filled: Path, damage) -> None:
    damage(filled)
    before = sorted(p.name for p in filled.parent.rglob("*"))
    with pytest.raises(BadInput, match=f"^expected .*found .*; run {COMMAND}$"):
        EngineCache(filled.parent, read_only=True).get(KEY, no_build, COMMAND)
    assert sorted(p.name for p in filled.parent.rglob("*")) == before


def test_nothing_is_handed_on_that_was_read_after_the_check(cache: EngineCache, filled: Path, monkeypatch) -> None:
    reads = []
    read = os.open
    monkeypatch.setattr(os, "open", lambda path, *a, **k: (reads.append(Path(path)), read(path, *a, **k))[1])
    cache.get(KEY, no_build, COMMAND)
    assert reads.count(filled) == 1


@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_a_secret_that_others_know_stops_both(cache: EngineCache, filled: Path, mode: int) -> None:
    cache.secret_file.chmod(mode)
    for one in (cache, EngineCache(filled.parent, read_only=True)):
        with pytest.raises(BadInput, match="others may know it; remove it"):
            one.get(KEY, no_build, COMMAND)


def test_an_engine_copied_from_another_device_is_refused(cache: EngineCache, filled: Path, tmp_path: Path) -> None:
    other = EngineCache(tmp_path / "second" / "engines")
    other.get(OTHER, builder(), COMMAND)
    shutil.copy(filled, other.folder)  # the folder was copied, the secret beside it was not
    with pytest.raises(BadInput, match="brought from elsewhere"):
        other.find(KEY)


# reading only

def test_a_service_finds_what_was_prepared_and_writes_nothing(filled: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (filled.parent, *filled.parent.iterdir())}
    assert EngineCache(filled.parent, read_only=True).get(KEY, no_build, COMMAND).engine == ENGINE
    assert {p: p.stat().st_mtime_ns for p in (filled.parent, *filled.parent.iterdir())} == before


def test_a_service_uses_kernels_and_keeps_none(cache: EngineCache, filled: Path) -> None:
    cache.get(KEY, no_build, COMMAND).kernels.save(b"prepared")
    kernels = EngineCache(filled.parent, read_only=True).get(KEY, no_build, COMMAND).kernels
    kernels.save(b"the service's own")
    assert kernels.load() == b"prepared"


def test_a_service_without_its_engine_says_what_to_run(folder: Path) -> None:
    with pytest.raises(Unavailable, match=f"an engine for tensorrt 10.3.0 on Orin .* found none; run {COMMAND}$"):
        EngineCache(folder, read_only=True).get(KEY, no_build, COMMAND)
    assert not folder.exists() and not folder.with_name("engines.key").exists()


def test_a_file_in_place_of_the_folder_is_one_line(folder: Path) -> None:
    folder.touch()
    with pytest.raises(BadInput, match="choose another with --cache"):
        EngineCache(folder).get(KEY, no_build, COMMAND)


# the folder's order

def test_what_killed_writers_left_is_swept(cache: EngineCache, filled: Path, folder: Path) -> None:
    for stale in (f".{filled.name}.0123abcd.engine", f".{filled.stem}.kernels.0123abcd.kernels"):
        (folder / stale).write_bytes(b"half")
    (folder.parent / ".engines.key.0123abcd.key").write_bytes(b"half")
    (folder / "README").write_text("a person's own")
    cache.get(OTHER, builder(), COMMAND)
    assert names(folder) == {".lock", "README", filled.name, f"{OTHER.digest()}.engine"}
    assert names(folder.parent) == {"engines", "engines.key"}


def test_the_quota_removes_the_least_recently_used(folder: Path) -> None:
    keys = [some_key(str(n).encode()) for n in range(4)]
    size = EngineCache(folder).get(keys[0], builder(), COMMAND).path.stat().st_size
    cache = EngineCache(folder, quota_bytes=3 * size + size // 2)
    for key in (*keys[1:3], keys[0]):  # 0 was first, and is used again
        cache.get(key, builder(), COMMAND)
    cache.get(keys[3], builder(), COMMAND)
    assert [cache.find(key) is not None for key in keys] == [True, False, True, True]


def test_kernels_count_and_go_with_their_engine(folder: Path) -> None:
    size = EngineCache(folder).get(KEY, builder(), COMMAND).path.stat().st_size
    cache = EngineCache(folder, quota_bytes=3 * size)
    cache.get(KEY, no_build, COMMAND).kernels.save(bytes(2 * size))
    (folder / f"{'0' * 64}.kernels").write_bytes(b"of an engine that is gone")
    cache.get(OTHER, builder(), COMMAND)
    assert names(folder) == {".lock", f"{OTHER.digest()}.engine"}


def test_an_engine_above_the_quota_is_refused_and_removes_nothing(cache: EngineCache, filled: Path) -> None:
    small = EngineCache(filled.parent, quota_bytes=len(ENGINE) + 2000)
    with pytest.raises(BadInput, match="raise --quota-mb"):
        small.get(OTHER, builder(ENGINE * 2), COMMAND)
    assert cache.find(KEY) is not None


def test_what_is_kept_makes_no_room(folder: Path) -> None:
    first = EngineCache(folder).get(KEY, builder(), COMMAND).path
    size = first.stat().st_size
    small = EngineCache(folder, quota_bytes=size + size // 2, keep=(first,))
    with pytest.raises(BadInput, match="beside 0.0 MiB that must stay; raise --quota-mb"):
        small.get(OTHER, builder(), COMMAND)
    assert first.exists() and small.find(OTHER) is None
    assert EngineCache(folder, quota_bytes=2 * size + 99, keep=(first,)).get(OTHER, builder(), COMMAND)
    assert first.exists()


def test_a_clock_that_went_back_does_not_make_the_newest_the_oldest(
        folder: Path, filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 0)  # a board without a battery boots in 1970
    size = filled.stat().st_size
    cache = EngineCache(folder, quota_bytes=2 * size + size // 2)
    cache.get(OTHER, builder(), COMMAND)
    cache.get(some_key(b"third"), builder(), COMMAND)
    assert [cache.find(key) is not None for key in (KEY, OTHER)] == [False, True]


@settings(max_examples=25, deadline=None)
@given(uses=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4000)), min_size=1, max_size=12),
       quota=st.integers(5000, 12000))
def test_the_quota_holds_after_any_uses_and_the_last_used_stays(
        tmp_path_factory: pytest.TempPathFactory, uses: list[tuple[int, int]], quota: int) -> None:
    cache = EngineCache(tmp_path_factory.mktemp("quota") / "engines", quota_bytes=quota)
    for number, size in uses:
        key = some_key(bytes([number]))
        cache.get(key, builder(bytes(size)), COMMAND)
        assert cache.find(key) is not None
        assert sum(p.stat().st_size for p in cache.folder.glob("*.engine")) <= quota
    shutil.rmtree(cache.folder)


def test_a_file_that_a_person_shows_is_readable_json(filled: Path) -> None:
    assert json.loads(filled.read_bytes().split(b"\n")[1])["key"]["gpu"] == "Orin"
