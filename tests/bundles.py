"""Small signed bundles of a tiny model, and a device's prefix that trusts their key. Real keys, real signatures."""

from __future__ import annotations

import io
import json
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_model import TinyNetwork, write_tiny_model

from export.bundle.make import manifest_of, sign, write_bundle
from runtime.bundle.manifest import TARGETS, Manifest

HERE = next(target for target in reversed(TARGETS) if TARGETS[target] == platform.machine())


def make_key(path: Path) -> Path:
    """Make an ed25519 key pair; return the private half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", str(path)], check=True)
    return path


def trust(signers: Path, *keys: Path, principal: str = "release") -> Path:
    """Write an allowed_signers file of these keys."""
    publics = [" ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2]) for key in keys]
    signers.parent.mkdir(parents=True, exist_ok=True)
    signers.write_text("".join(f'{principal} namespaces="mien" {public}\n' for public in publics))
    return signers


def kiosk_files(folder: Path, port: int = 9464, seed: int = 0, **config: Any) -> dict[str, bytes]:
    """Return the files of a bundle: a tiny model whose logits `seed` decides, and a configuration."""
    model = write_tiny_model(folder / f"tiny-{seed}", TinyNetwork.random(seed))
    values = {"source": "synthetic://?size=160x120", "model": "models/tiny", "target": "cpu", "faces": "haar",
              "metrics": {"port": port}, **config}
    files = {f"models/tiny/{path.name}": path.read_bytes() for path in sorted(model.iterdir())}
    return files | {"stream.yaml": json.dumps(values).encode(), "NOTICE.txt": b"seen\n"}


def write_kiosk(path: Path, key: Path, version: str, files: dict[str, bytes], target: str = HERE) -> Manifest:
    """Write a signed bundle of files; return its manifest."""
    manifest = manifest_of("kiosk", version, target, files, {})
    write_bundle(path, manifest, sign(manifest.encode(), key), files)
    return manifest


def stream_of(path: Path) -> io.BytesIO:
    """Return a bundle as a stream."""
    return io.BytesIO(path.read_bytes())


@dataclass(frozen=True)
class Release:
    """A key, who trusts it, files, and the bundle made of them."""

    key: Path
    signers: Path
    files: dict[str, bytes]
    path: Path
    manifest: Manifest


def make_release(folder: Path, version: str = "1.4.0") -> Release:
    """Make a key, and a bundle that it signed."""
    key, files, path = make_key(folder / "key"), kiosk_files(folder), folder / "kiosk.mien"
    return Release(key, trust(folder / "allowed_signers", key), files, path, write_kiosk(path, key, version, files))
