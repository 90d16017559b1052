"""The Dockerfile that ships, as far as it can be judged without docker."""

from __future__ import annotations

import json
import re
import shlex

import yaml

import mien
from export.forms.deb_from_bundle import SCRIPTS
from runtime.machine import ROOT

LINES = (SCRIPTS / "Dockerfile").read_text().splitlines()
JOINED = "\n".join(line for line in LINES if not line.startswith("#")).replace("\\\n", " ")
INSTRUCTIONS = [(words[0], words[1]) for line in JOINED.splitlines() if (words := line.split(None, 1))]
DEVICES = yaml.safe_load((ROOT / "runtime/engines/devices.yaml").read_text())


def of(kind: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == kind]


def test_its_base_is_a_jetpack_that_we_know() -> None:
    image, _, tag = of("FROM")[0].rpartition(":")
    assert image == "nvcr.io/nvidia/l4t-jetpack" and len(of("FROM")) == 1
    assert f'"{tag.removeprefix("r")}"' in json.dumps(DEVICES)


def test_what_it_runs_is_a_verb_and_no_shell_stands_before_it() -> None:
    entry, command = json.loads(of("ENTRYPOINT")[0]), json.loads(of("CMD")[0])  # JSON: SIGTERM reaches mien itself
    assert entry[0].endswith("/mien")
    mien.make_parser().parse_args([*entry[1:], *command])


def test_its_comments_show_commands_that_are_understood() -> None:
    shown = re.sub(r"\\\n#\s*", "", "\n".join(LINES[:12]))
    verbs = re.findall(r"kiosk:1\.4\.0 (prepare .*)$", shown, flags=re.MULTILINE)
    assert verbs
    for words in verbs:
        mien.make_parser().parse_args(shlex.split(words))


def test_it_is_not_root_and_takes_no_tensorrt_from_pip() -> None:
    assert of("USER")[-1] == "mien" and "pip" not in JOINED and "--no-install-recommends" in JOINED
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN")
