"""A bundle is exactly what its manifest says, or nothing of it is written."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Release, make_key, trust, write_kiosk

from export.bundle.make import sign
from runtime.bundle.archive import BLOCK, END, StrictReader, header_of, padding
from runtime.bundle.signature import FIRST, LAST, signer_of
from runtime.bundle.unpack import check_bundle, check_folder, read_manifest, unpack
from runtime.errors import BadInput

Members = list[tuple[bytes, bytes]]  # header, content with its padding


def unpacked(content: bytes, signers: Path, folder: Path) -> Path:
    reader = StrictReader(io.BytesIO(content))
    unpack(reader, read_manifest(reader, signers), folder)
    return folder


def members_of(content: bytes) -> Members:
    found, at = [], 0
    while content[at:at + BLOCK].strip(b"\0"):
        size = int(content[at + 124:at + 135], 8)
        end = at + BLOCK + size + len(padding(size))
        found.append((content[at:at + BLOCK], content[at + BLOCK:end]))
        at = end
    return found


def joined(members: Members) -> bytes:
    return b"".join(header + content for header, content in members) + END


def test_every_file_arrives_and_is_read_back(release: Release, tmp_path: Path) -> None:
    folder = unpacked(release.path.read_bytes(), release.signers, tmp_path / "out")
    assert {path: (folder / path).read_bytes() for path in release.files} == release.files
    assert check_folder(folder, release.signers).manifest == release.manifest


def test_tar_reads_a_bundle_too(release: Release) -> None:
    with tarfile.open(release.path) as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar if m.name in release.files} == release.files
    listed = subprocess.run(["tar", "-tf", release.path], check=True, capture_output=True, text=True).stdout.split()
    assert listed == ["manifest.json", "manifest.json.sig", *sorted(release.files)]


def test_same_files_and_key_give_the_same_bytes(release: Release, tmp_path: Path) -> None:
    backwards = dict(reversed(release.files.items()))
    write_kiosk(tmp_path / "again.mien", release.key, "1.4.0", backwards)
    assert (tmp_path / "again.mien").read_bytes() == release.path.read_bytes()


def test_another_key_is_refused_before_anything_is_written(release: Release, tmp_path: Path) -> None:
    signers = trust(tmp_path / "signers", make_key(tmp_path / "other"))
    with pytest.raises(BadInput, match="found another's"):
        unpacked(release.path.read_bytes(), signers, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keys_rotate_through_a_file_of_two(release: Release, tmp_path: Path) -> None:
    fresh = make_key(tmp_path / "fresh")
    both = trust(tmp_path / "both", release.key, fresh)
    write_kiosk(tmp_path / "new.mien", fresh, "1.5.0", release.files)
    for path in (release.path, tmp_path / "new.mien"):
        assert check_bundle(io.BytesIO(path.read_bytes()), both).signed_by == "release"


def test_a_signature_for_another_purpose_is_refused(release: Release, tmp_path: Path) -> None:
    content = release.manifest.encode()
    other = subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", release.key], input=content,
                           capture_output=True, check=True).stdout
    with pytest.raises(BadInput):
        signer_of(content, other, release.signers)


def test_a_second_spelling_of_a_signature_is_refused(release: Release) -> None:
    content = release.manifest.encode()
    good = sign(content, release.key)
    lines = good[len(FIRST):-len(LAST)].splitlines()
    other = FIRST + b"\n".join([lines[0] + lines[1], *lines[2:]]) + b"\n" + LAST
    assert signer_of(content, good, release.signers) == "release"
    with pytest.raises(BadInput):
        signer_of(content, other, release.signers)


def swapped(members: Members) -> Members:
    return [*members[:2], members[3], members[2], *members[4:]]


def linked(members: Members) -> Members:
    file = header_of("stream.yaml", 0)
    return [*members[:2], (file[:156] + b"2" + file[157:], b""), *members[3:]]


@pytest.mark.parametrize(("change", "says"), [
    (lambda m: m[1:], "manifest.json"), (lambda m: [m[0], *m[2:]], "manifest.json.sig"),
    (lambda m: m[:-1], "its end"), (lambda m: [*m[:3], m[2], *m[3:]], "NOTICE.txt"), (swapped, "expected the file"),
    (lambda m: [*m, (header_of("extra", 0), b"")], "more; a member"), (linked, "a symbolic link"),
    (lambda m: [*m[:-1], (m[-1][0], b"\0" * len(m[-1][1]))], "manifest names")])
def test_members_that_the_manifest_does_not_give_are_refused(
    release: Release, tmp_path: Path, change: Callable[[Members], Members], says: str
) -> None:
    content = joined(change(members_of(release.path.read_bytes())))
    with pytest.raises(BadInput, match=says):
        unpacked(content, release.signers, tmp_path / "out")


def test_what_was_changed_on_the_disk_is_found(release: Release, tmp_path: Path) -> None:
    def damaged(name: str, damage: Callable[[Path], object]) -> None:
        folder = unpacked(release.path.read_bytes(), release.signers, tmp_path / name)
        damage(folder)
        with pytest.raises(BadInput):
            check_folder(folder, release.signers)

    damaged("changed", lambda f: (f / "NOTICE.txt").write_bytes(b"meen\n"))
    damaged("longer", lambda f: (f / "NOTICE.txt").write_bytes(b"seen\n\n"))
    damaged("missing", lambda f: (f / "NOTICE.txt").unlink())
    damaged("more", lambda f: (f / "models" / "x").touch())
    damaged("link", lambda f: ((f / "NOTICE.txt").unlink(), (f / "NOTICE.txt").symlink_to("stream.yaml")))
    damaged("folder", lambda f: (shutil.move(f / "models", tmp_path / "m"), (f / "models").symlink_to(tmp_path / "m")))


def mutated(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """Return a bundle with one random change, as often in a header, the manifest or the signature as in a file."""
    members = members_of(content)
    edges, at = [], 0
    for _, body in members:
        edges += [(at, at + BLOCK), (at + BLOCK, at + BLOCK + len(body))]
        at += BLOCK + len(body)
    low, high = generator.choice([edge for edge in [*edges, (at, len(content))] if edge[0] < edge[1]])
    where = generator.randrange(low, high)
    kind = generator.choice(["bit", "byte", "cut", "insert", "remove", "append", "member", "order", "twice", "zeros"])
    if kind == "bit":
        return content[:where] + bytes([content[where] ^ 1 << generator.randrange(8)]) + content[where + 1:]
    if kind == "byte":
        return content[:where] + bytes([(content[where] + generator.randrange(1, 256)) % 256]) + content[where + 1:]
    if kind == "cut":
        return content[:where]
    if kind == "insert":
        return content[:where] + generator.randbytes(generator.choice([1, 512])) + content[where:]
    if kind == "remove":
        return content[:where] + content[where + generator.choice([1, 512]):]
    if kind == "append":
        return content + generator.randbytes(generator.choice([1, 512, 10240]))
    if kind == "zeros":
        return content[:where] + bytes(min(16, len(content) - where)) + content[where + 16:]
    index = generator.randrange(len(members))
    if kind == "member":  # the same member of another signed bundle
        members[index] = members_of(other)[index]
    elif kind == "order":
        members.insert(generator.randrange(len(members)), members.pop(index))
    else:
        members.insert(index, members[index])
    return joined(members)


def refused_of(release: Release, folder: Path, count: int) -> tuple[int, int]:
    """Return how many mutations changed a byte, and how many of those were refused with nothing left outside."""
    other = folder / "other.mien"
    write_kiosk(other, release.key, "1.4.1", {**release.files, "NOTICE.txt": b"other\n"})
    content, second, generator = release.path.read_bytes(), other.read_bytes(), random.Random(count)
    changed = refused = 0
    for number in range(count):
        bundle = mutated(content, second, generator)
        if bundle in (content, second):
            continue
        changed += 1
        out = folder / f"out-{number}"
        try:
            unpacked(bundle, release.signers, out)
        except BadInput:
            refused += 1
        shutil.rmtree(out, ignore_errors=True)
    assert sorted(os.listdir(folder)) == ["other.mien"]
    return changed, refused


def test_300_mutations_are_refused(release: Release, tmp_path: Path) -> None:
    changed, refused = refused_of(release, tmp_path, 300)
    assert changed > 250 and refused == changed


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_10_000_mutations_are_refused(release: Release, tmp_path: Path, record_property: Callable[..., None]) -> None:
    changed, refused = refused_of(release, tmp_path, 11_600)  # some change nothing
    record_property("mutations", changed)
    assert changed >= 10_000 and refused == changed
