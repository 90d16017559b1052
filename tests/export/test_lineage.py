"""`mien why`: each link verified; a missing or a broken one is named."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import HERE, make_key, trust

import mien
from export.lineage import Link, lineage_of
from export.why import why_bundle, why_engine
from runtime.card import FileEntry, load_model, save_card
from runtime.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDS = sorted((ROOT / "docs" / "results").glob("*mien-light*.json"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The model that ships, in a copy that a test may damage."""
    return Path(shutil.copytree(ROOT / "runtime" / "models" / "mien-light", tmp_path / "mien-light"))


def states(links: tuple[Link, ...] | list[Link]) -> dict[str, str]:
    return {link.name: link.state for link in links}


def test_every_link_of_the_shipped_model_holds(model: Path) -> None:
    found = lineage_of(load_model(model), RECORDS)
    assert states(found.links) == {"data": "named"} | dict.fromkeys((
        "checkpoint", "graph fp32", "graph fp16", "graph int8", "graph int8-gpu", "image list", "ranges",
        "gate of fp16", "gate of int8", "gate of int8-gpu"), "verified")


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def another_file(name: str) -> Callable[[Path], None]:
    """Exchange a calibration file for another valid one, and let the card name it: only its meaning is wrong."""
    def exchange(model: Path) -> None:
        card = load_model(model).card
        entry = card.calibration["files"][name]
        path = model / entry["file"]
        if name == "list":
            path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
        else:
            path.unlink()
            shutil.copyfile(model / "images.json", path)
        files = card.calibration["files"] | {name: vars(FileEntry.of(path))}
        save_card(model, replace(card, calibration=card.calibration | {"files": files}))
    return exchange


def without(section: str, key: str) -> Callable[[Path], None]:
    def drop(model: Path) -> None:
        card = load_model(model).card
        values = {k: v for k, v in getattr(card, section).items() if k != key}
        save_card(model, replace(card, **{section: values}))
    return drop


@pytest.mark.parametrize(("damage", "link", "state"), [
    (lambda m: change(m / "int8.onnx"), "graph int8", "broken"),
    (lambda m: (m / "fp16.onnx").unlink(), "graph fp16", "broken"),
    (lambda m: change(m / "images.json"), "image list", "broken"),
    (lambda m: change(m / "ranges.hist"), "ranges", "broken"),
    (lambda m: (m / "ranges.hist").unlink(), "ranges", "broken"),
    (another_file("list"), "image list", "broken"), (another_file("ranges"), "ranges", "broken"),
    (without("training", "data"), "data", "missing"),
    (without("training", "checkpoint_sha256"), "checkpoint", "missing"),
    (without("calibration", "files"), "image list", "missing")])
def test_a_missing_or_broken_link_is_named(
    model: Path, damage: Callable[[Path], object], link: str, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(model)
    assert states(lineage_of(load_model(model), RECORDS).links)[link] == state
    assert mien.main(["why", str(model), "--records", *map(str, RECORDS)]) == 1
    assert f"{link}: {state}" in capsys.readouterr().err


def test_a_graph_without_a_record_or_with_a_failed_one_is_named(model: Path, tmp_path: Path) -> None:
    graph = load_model(model).card.graphs["int8"]
    record = {"graph": "int8", "sha256": graph.sha256, "passed": False}
    (tmp_path / "failed.json").write_text(json.dumps(record))
    (tmp_path / "other.json").write_text(json.dumps(record | {"passed": True, "sha256": "0" * 64}))
    (tmp_path / "undecided.json").write_text(json.dumps(record | {"verdict": "inconclusive"}))

    def gate(name: str) -> str:
        return states(lineage_of(load_model(model), [tmp_path / name]).links)["gate of int8"]

    assert (gate("failed.json"), gate("other.json"), gate("undecided.json")) == ("broken", "missing", "missing")


@pytest.mark.parametrize(("form", "state"), [
    ({"target": "cpu"}, "missing"), ({"target": "cpu", "form": "cpu"}, "missing"),
    ({"target": "cpu", "form": "cpu", "passed": False}, "broken"), ({"target": "cpu", "form": "gpu"}, "verified"),
    ({"target": "tensorrt"}, "verified")])
def test_fp16_is_proven_by_halfs_own_arithmetic(model: Path, tmp_path: Path, form: dict[str, object],
                                                state: str) -> None:
    record = {"graph": "fp16", "sha256": load_model(model).card.graphs["fp16"].sha256, "passed": True} | form
    (tmp_path / "r.json").write_text(json.dumps(record))
    assert states(lineage_of(load_model(model), [tmp_path / "r.json"]).links)["gate of fp16"] == state


def test_another_checkpoint_breaks_the_link(model: Path) -> None:
    other = ROOT / "train" / "checkpoints" / "mien-light-50"
    assert states(lineage_of(load_model(model), RECORDS, checkpoint=other).links)["checkpoint"] == "broken"


def test_an_engine_leads_to_its_graph(model: Path, tmp_path: Path) -> None:
    engine, graph = tmp_path / "e.engine", load_model(model).card.graphs["int8-gpu"]
    engine.write_bytes(b"engine")
    facts = {"engine_sha256": hashlib.sha256(b"engine").hexdigest(), "graph_sha256": graph.sha256}
    engine.with_suffix(".json").write_text(json.dumps(facts))
    found = states(why_engine(engine, model, RECORDS))
    assert (found["engine"], found["engine's graph"]) == ("verified", "verified")
    engine.with_suffix(".json").write_text(json.dumps(facts | {"graph_sha256": "0" * 64}))
    assert states(why_engine(engine, model, RECORDS))["engine's graph"] == "broken"
    engine.write_bytes(b"other")
    assert states(why_engine(engine, model, RECORDS)) == {"engine": "broken"}


@pytest.mark.parametrize("content", ['{"engine_sha256": "', "[1]", "3", "\\xff", "[" * 100_000])
def test_a_damaged_sidecar_is_a_broken_link(model: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "e.engine").write_bytes(b"engine")
    (tmp_path / "e.json").write_text(content)
    link, = why_engine(tmp_path / "e.engine", model, RECORDS)
    assert (link.name, link.state) == ("engine", "broken") and "expected the sidecar of an engine" in link.found


@pytest.mark.parametrize("key", [[1], "x", 7, None])
def test_a_sidecar_with_a_foreign_key_leads_to_no_graph(model: Path, tmp_path: Path, key: object) -> None:
    (tmp_path / "e.engine").write_bytes(b"engine")
    (tmp_path / "e.json").write_text(json.dumps({"engine_sha256": hashlib.sha256(b"engine").hexdigest(), "key": key}))
    assert states(why_engine(tmp_path / "e.engine", model, RECORDS))["engine's graph"] == "broken"


def test_a_sidecar_without_a_model_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.engine").write_bytes(b"engine")
    (tmp_path / "e.json").write_text(json.dumps({"engine_sha256": hashlib.sha256(b"engine").hexdigest()}))
    assert mien.main(["why", str(tmp_path / "e.engine")]) == 2
    assert "name it with --model" in capsys.readouterr().err


@pytest.mark.parametrize("content", ['{"graph": {"a": 1}}', '{"graph": [1], "passed": true}', "[1]"])
def test_json_that_is_no_record_is_none(model: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    assert states(lineage_of(load_model(model), [tmp_path / "r.json"]).links)["gate of int8"] == "missing"


@pytest.mark.parametrize("content", ['{"graph": ', "[" * 100_000])
def test_a_record_that_is_no_json_is_refused(model: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(BadInput, match="expected a record of mien check"):
        lineage_of(load_model(model), [tmp_path / "r.json"])


def test_a_bundle_carries_its_lineage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, bundle = make_key(tmp_path / "key"), tmp_path / "kiosk.mien"
    signers = trust(tmp_path / "signers", key)
    config = tmp_path / "stream.yaml"
    config.write_text("# the lobby's\nsource: 0\nmodel: mien-light  # shipped\nfaces: haar\nmetrics: {port: 9464}\n")
    assert mien.main(["bundle", "--config", str(config), "--target", HERE, "--version", "1.0", "--key", str(key),
                      "-o", str(bundle), "--wheel", "none", "--records", *map(str, RECORDS)]) == 0
    found = states(why_bundle(bundle, signers))
    assert found["manifest"] == found["signature"] == "verified" and set(found.values()) == {"verified", "named"}
    assert mien.main(["bundle", "inspect", str(bundle), "--json"]) == 0
    listed = [file["path"] for file in json.loads(capsys.readouterr().out)["files"]]
    assert "models/mien-light/card.json" in listed and "units/mien-kiosk.service" in listed
    assert not [path for path in listed if path.endswith(".engine")]
    bundle.write_bytes(bundle.read_bytes()[:-1])
    assert mien.main(["why", str(bundle), "--signers", str(signers)]) == 1
