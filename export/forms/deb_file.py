"""Control fields, scripts and a tree of files → a Debian package. Knows nothing of what is in it.

Written here and not by dpkg-deb, so that the same bundle gives the same bytes on any system. gzip only stores: no
version of a library then decides on bytes, and wheels are compressed already. (A plain tar is an error to lintian.)
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.durable import replacing

TIME = 1262304000  # 2010-01-01: a bundle has no date, and lintian calls what is older than 1984 ancient
STORED = 65535  # the most bytes that one block holds
AR_HEADER = "{name:<16}{time:<12}{owner:<6}{group:<6}{mode:<8}{size:<10}`\n"  # ar(5), common format


@dataclass(frozen=True)
class Link:
    """A symbolic link and what it says."""

    target: str


@dataclass(frozen=True)
class Deb:
    """control: fields in order; scripts: by name, such as postinst; tree: by absolute path; conffiles: of these."""

    control: Mapping[str, str]
    scripts: Mapping[str, bytes]
    tree: Mapping[str, bytes | Link]
    conffiles: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Return the name that Debian gives such a file."""
        return "{Package}_{Version}_{Architecture}.deb".format(**self.control)


def write_deb(path: Path, deb: Deb) -> None:
    """Write the package, whole or not at all."""
    sums = "".join(f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name.lstrip('/')}\n"
                   for name, content in sorted(deb.tree.items())
                   if isinstance(content, bytes) and name not in deb.conffiles)
    size = sum(len(content) for content in deb.tree.values() if isinstance(content, bytes))
    fields = {**deb.control, "Installed-Size": str(-(-size // 1024))}  # deb-control(5): KiB
    about: dict[str, bytes | Link] = {"/control": "".join(f"{k}: {v}\n" for k, v in fields.items()).encode(),
                                      "/conffiles": "".join(f"{name}\n" for name in deb.conffiles).encode(),
                                      "/md5sums": sums.encode(), **{f"/{k}": v for k, v in deb.scripts.items()}}
    members = (("debian-binary", b"2.0\n"), ("control.tar.gz", gzipped(tar(about, {f"/{k}" for k in deb.scripts}))),
               ("data.tar.gz", gzipped(tar(deb.tree))))
    with replacing(path) as temporary, open(temporary, "wb") as out:
        out.write(b"!<arch>\n")
        for name, content in members:
            out.write(AR_HEADER.format(name=name, time=TIME, owner=0, group=0, mode=100644, size=len(content)).encode())
            out.write(content)
            out.write(b"\n" * (len(content) % 2))


def tar(tree: Mapping[str, bytes | Link], executable: set[str] | frozenset[str] = frozenset()) -> bytes:
    """Return a tar of a tree and the folders that it needs, root's, in order."""
    folders = {str(parent) for name in tree for parent in PurePosixPath(name).parents}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name in sorted(folders | tree.keys()):
            member = tarfile.TarInfo(f".{name}" if name != "/" else "./")
            member.mtime, member.uname, member.gname = TIME, "root", "root"
            content = tree.get(name)
            if isinstance(content, bytes):
                member.size, member.mode = len(content), 0o755 if name in executable else 0o644
                out.addfile(member, io.BytesIO(content))
                continue
            member.type, member.mode = (tarfile.DIRTYPE, 0o755) if content is None else (tarfile.SYMTYPE, 0o777)
            member.linkname = content.target if content else ""
            out.addfile(member)
    return made.getvalue()


def gzipped(content: bytes) -> bytes:
    """Return content as a gzip file that only stores it (RFC 1951, 3.2.4; RFC 1952)."""
    blocks = [content[at:at + STORED] for at in range(0, len(content), STORED)] or [b""]
    parts = [b"\x1f\x8b\x08" + bytes(5) + b"\x02\xff"]  # no name, no time, no system
    for block in blocks:
        size = len(block).to_bytes(2, "little")
        parts += [bytes([block is blocks[-1]]), size, bytes(255 - each for each in size), block]
    return b"".join([*parts, zlib.crc32(content).to_bytes(4, "little"), len(content).to_bytes(4, "little")])
