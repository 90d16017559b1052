"""One stream a state folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import BadInput, Unavailable
from runtime.supervision.instance_lock import only_instance

ROOT = Path(__file__).resolve().parents[3]


def test_a_second_stream_is_told_who_the_first_is(tmp_path: Path) -> None:
    refused = pytest.raises(Unavailable, match=f"process {os.getpid()}")
    with only_instance(tmp_path), refused as caught, only_instance(tmp_path):
        pass
    assert caught.value.exit_code == 3
    with only_instance(tmp_path):
        pass


def test_a_killed_streams_lock_is_free(tmp_path: Path) -> None:
    program = ("import sys, time\nfrom pathlib import Path\n"
               "from runtime.supervision.instance_lock import only_instance\n"
               "with only_instance(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, cwd=ROOT) as held:
        assert held.stdout is not None and held.stdout.readline() == b"held\n"
        with pytest.raises(Unavailable, match=f"process {held.pid}"), only_instance(tmp_path):
            pass
        held.send_signal(signal.SIGKILL)
        held.wait()
    with only_instance(tmp_path):
        assert (tmp_path / "stream.lock").read_text() == f"{os.getpid()}\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / "stream.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(BadInput, match="supervision.state"), only_instance(tmp_path):
        pass
    assert (tmp_path / "precious").read_text() == "text"


def test_a_state_folder_that_cannot_be_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="folder to keep the service's state"), only_instance(tmp_path / "file" / "x"):
        pass
