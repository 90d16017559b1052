"""README.md against the repository: its tree, its commands and the records it cites."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import mien
import runtime.stream
from runtime.card import load_model
from runtime.config import build
from train.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
HIDDEN = (".ci", ".gitignore", "README.md")  # what a tree leaves out: itself, and what tools read


def blocks(language: str, text: str = README) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def tree_paths() -> list[str]:
    """Return the paths of the README's tree; two spaces of indent are one folder down."""
    paths: list[str] = []
    above: list[str] = []
    for line in blocks("text")[-1].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in re.split(r"  +", line.strip())[0].split():
            path = "".join(above[:depth]) + name
            paths.append(path)
        above[depth:] = [name if name.endswith("/") else ""]
    return paths


def commands(text: str = README) -> list[str]:
    """Return the command lines of bash blocks, comments and continuation lines resolved."""
    joined = "\n".join(blocks("bash", text)).replace("\\\n", " ")
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


EVERY_COMMAND = [(page.name, command) for page in PAGES for command in commands(page.read_text(encoding="utf-8"))]


def test_the_tree_has_a_place_for_every_room() -> None:
    assert {"runtime/", "calibration/", "train/", "export/", "tests/", "docs/", "mien.py"} <= set(tree_paths())


@pytest.mark.parametrize("path", tree_paths())
def test_what_the_tree_names_is_there(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_the_tree_names_everything_that_is_there() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git cannot say what belongs to it")
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.splitlines()
    there = {path.partition("/")[0] + ("/" if "/" in path else "") for path in listed}
    assert {name for name in there if name.rstrip("/") not in HIDDEN} - set(tree_paths()) == set()


def test_readme_shows_the_two_commands_first() -> None:
    assert [shlex.split(c, comments=True) for c in commands()[:2]] == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("command", [c for _, c in EVERY_COMMAND if c.startswith("mien ")])
def test_a_mien_command_is_understood(command: str) -> None:
    mien.make_parser().parse_args(shlex.split(command, comments=True)[1:])


@pytest.mark.parametrize("command", [c for _, c in EVERY_COMMAND if c.startswith("make ")])
def test_a_make_command_has_its_target(command: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert shlex.split(command, comments=True)[1] in targets


@pytest.mark.parametrize("command", [c for _, c in EVERY_COMMAND if c.startswith("python ")])
def test_a_python_command_runs_a_file_that_is_there_on_files_that_are(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    assert words[0] == "-m" or (ROOT / words[0]).is_file()
    assert [w for w in words if w.endswith(".yaml") and not (ROOT / w).is_file()] == []


def test_no_other_kind_of_command_is_shown() -> None:
    known = ("mien ", "make ", "python ", "pip install ")
    assert [(page, c) for page, c in EVERY_COMMAND if not c.startswith(known)] == []


def test_the_kiosk_program_reads_the_shipped_configuration() -> None:
    assert runtime.stream.load_config(ROOT / "stream.yaml").source


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_record_that_is_cited_is_there_and_is_json(page: Path) -> None:
    for name in re.findall(r"docs/results/([\w./-]+\.json)", page.read_text(encoding="utf-8")):
        assert isinstance(json.loads((ROOT / "docs/results" / name).read_text()), dict), name


@pytest.mark.parametrize("record", sorted((ROOT / "docs/results").rglob("*.json")), ids=lambda r: r.name)
def test_every_record_names_the_machine_and_the_data(record: Path) -> None:
    values = json.loads(record.read_text())
    made_on = values["made_on"]
    assert {"processor", "system", "python", "commit"} <= set(made_on) and made_on["commit"]
    assert "data" not in values or len(values["data"]["sha256"]) == 64


def test_the_shipped_figures_are_those_of_the_shipped_files() -> None:
    graphs = load_model(Path("mien-light")).card.graphs
    records = [json.loads(r.read_text()) for r in (ROOT / "docs/results").glob("mien-light-*.json")]
    checked = {r["graph"]: r["sha256"] for r in records if "graph" in r}
    assert set(checked) >= {"int8", "fp16"}
    assert {graph: graphs[graph].sha256 for graph in checked} == checked


def test_the_shipped_cards_command_is_the_recipe_it_was_trained_with() -> None:
    training = load_model(Path("mien-light")).card.training
    args = mien.make_parser().parse_args(shlex.split(training["command"])[1:])
    recipe = load_recipe(args.recipe, args.set, epochs=args.epochs, seed=args.seed)
    assert recipe == build(Recipe, training["recipe"], "the card")


def test_no_placeholder_is_left() -> None:
    found = {str(page.relative_to(ROOT)): re.findall(r"\b(?:[A-Z]+_TABLE|TODO|TBD|FIXME|XXX)\b", page.read_text())
             for page in PAGES}
    assert {page: words for page, words in found.items() if words} == {}


def test_the_readmes_table_says_what_the_records_say() -> None:
    figures = json.loads((ROOT / "docs/results/mien-light-fp32-pytorch/figures.json").read_text())
    fp16, int8 = (json.loads((ROOT / f"docs/results/mien-light-{p}-cpu-PrivateTest.json").read_text())
                  for p in ("fp16", "int8"))
    card = load_model(ROOT / "runtime/models/mien-light").card
    accuracy = [figures["splits"]["PrivateTest"]["accuracy"], fp16["accuracy_engine"], int8["accuracy_engine"]]
    rows = [
        "| PrivateTest accuracy, single view | " + " | ".join(f"{100 * a:.1f} %" for a in accuracy) + " |",
        f"| labels as FP32 | | {100 * fp16['agreement']:.1f} % | {100 * int8['agreement']:.1f} % |",
        "| file | " + " | ".join(f"{card.graphs[g].bytes / 1e6:.2f} MB" for g in ("fp32", "fp16", "int8")) + " |",
    ]
    assert [row for row in rows if row not in README] == []
    assert {r["sha256"] for r in (fp16, int8)} == {card.graphs[g].sha256 for g in ("fp16", "int8")}
    assert figures["network"]["sha256"] == card.training["checkpoint_sha256"]
