"""`mien why`: an engine or a bundle → every link of where it came from. A model's own links are `lineage.py`'s."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.lineage import Lineage, Link, lineage_of
from runtime.bundle.archive import StrictReader
from runtime.bundle.unpack import SignedManifest, read_manifest, unpack
from runtime.card import load_model
from runtime.engines.cache import MAX_ENGINE_BYTES
from runtime.engines.device_secret import read_secret
from runtime.engines.engine_file import unseal
from runtime.engines.regular_file import read_regular_file
from runtime.errors import BadInput, MienError


def why_engine(path: Path, model: Path | None, records: Sequence[Path] | None) -> list[Link]:
    """Return an engine's links: its sidecar (`mien build`'s, or the sealed one of a cache), and its model's."""
    content, _ = read_regular_file(path, MAX_ENGINE_BYTES)
    try:
        facts, link = _sidecar_of(path, content)
    except MienError as error:
        return [Link("engine", "broken", str(error))]
    named = model or facts.get("model")
    if not named:
        raise BadInput(f"expected the model in {path}'s sidecar, found none; name it with --model")
    found = load_model(Path(str(named)))
    graphs = {entry.sha256: graph for graph, entry in found.card.graphs.items()}
    key = facts.get("key")
    graph = str(facts.get("graph_sha256", key.get("graph_sha256", "") if isinstance(key, dict) else ""))
    made_of = (Link("engine's graph", "verified", f"{graphs[graph]} of {found.card.name}") if graph in graphs else
               Link("engine's graph", "broken", f"compiled from {graph[:12] or 'no graph'}, which is none of "
                                                f"{found.directory}"))
    return [*lineage_of(found, records).links, link, made_of]


def _sidecar_of(path: Path, content: bytes) -> tuple[dict[str, Any], Link]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        secret = read_secret(path.absolute().parent.with_name(f"{path.absolute().parent.name}.key"))
        if secret is None:
            raise BadInput(f"expected {beside}, or this device's secret beside the cache, found neither")
        return unseal(content, secret, str(path)).sidecar, Link("engine", "verified", "sealed by this device")
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"expected the sidecar of an engine in {beside}, found {error}; build it again") from error
    if not isinstance(facts, dict):
        raise BadInput(f"expected the sidecar of an engine in {beside}, found another file; build it again")
    found = hashlib.sha256(content).hexdigest()
    if found != facts.get("engine_sha256"):
        raise BadInput(f"expected the engine that {beside.name} names, found {found[:12]} in {path}; build it again")
    return facts, Link("engine", "verified", f"{found[:12]}, as {beside.name} says")


def why_bundle(path: Path, signers: Path | None) -> list[Link]:
    """Return a bundle's links: its models' and records', walked again from its own files, and its signature."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "bundle"
        try:
            with open(path, "rb") as stream:
                reader = StrictReader(stream)
                signed = read_manifest(reader, signers)
                unpack(reader, signed, place)
        except MienError as error:
            return [Link("bundle", "broken", str(error))]
        models = [load_model(card.parent) for card in sorted(place.glob("models/*/card.json"))]
        walked = [lineage_of(model, sorted(place.glob("records/*.json"))) for model in models]
        links = [link for lineage in walked for link in lineage.links]
    return [*links, _signed_link(signed, walked), _signature_link(signed)]


def _signed_link(signed: SignedManifest, walked: list[Lineage]) -> Link:
    if signed.manifest.lineage == {lineage.model: lineage.hashes for lineage in walked}:
        return Link("manifest", "verified", "the lineage in it is that of its files")
    return Link("manifest", "broken", "the lineage in it is not that of its files; make the bundle again")


def _signature_link(signed: SignedManifest) -> Link:
    what = f"{signed.manifest.name} {signed.manifest.version}"
    if not signed.signed_by:
        return Link("signature", "named", f"{what}; --signers FILE verifies it")
    return Link("signature", "verified", f"{what}, signed by {signed.signed_by}")
