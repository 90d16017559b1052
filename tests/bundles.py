"""Small signed bundles of a tiny model, and a device's prefix that trusts their key. Real keys, real signatures."""

from __future__ import annotations

import io
import json
import platform
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny_model import TinyNetwork, write_tiny_model

from export.bundle.make import manifest_of, sign, write_bundle
from runtime.bundle.manifest import TARGETS, Manifest

# What a kiosk's package must hold for JetPack 6, and what mien's own wheel says that it requires
NEEDED = ("numpy-2.2.6-cp310-cp310-manylinux_2_28_aarch64",
          "opencv_python_headless-4.14.0-cp37-abi3-manylinux2014_aarch64",
          "PyYAML-6.0.3-cp310-cp310-manylinux2014_aarch64", "onnxruntime-1.23.2-cp310-cp310-manylinux_2_28_aarch64",
          "tqdm-4.70.1-py3-none-any", "prometheus_client-0.26.0-py3-none-any")
REQUIRES = ("numpy>=1.26", "opencv-python-headless>=4.8,<6", "PyYAML>=6.0", "onnxruntime>=1.18", "tqdm>=4.65",
            'torch>=2.6; extra == "train"', 'prometheus-client>=0.20; extra == "metrics"',
            'paho-mqtt>=2.1; extra == "mqtt"', 'starlette>=0.40; extra == "dashboard"',
            'uvicorn>=0.30; extra == "dashboard"', 'cuda-python<13,>=12.6; extra == "jetson"')
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


def kiosk_wheels(*names: str) -> dict[str, bytes]:
    """Return mien's wheel, which only says what it requires, and others that are empty."""
    own = io.BytesIO()
    with zipfile.ZipFile(own, "w") as made:
        made.writestr("mien-0.1.0.dist-info/METADATA", "".join(f"Requires-Dist: {each}\n" for each in REQUIRES))
    return {"wheels/mien-0.1.0-py3-none-any.whl": own.getvalue(), **{f"wheels/{name}.whl": b"" for name in names}}


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
