"""A small aarch64 Debian, made by mmdebstrap and run by qemu: where packages for a Jetson are installed without one.

Commands run in namespaces of their own, with a private binfmt_misc (Linux ≥ 6.7), so this machine does not change. No
time that is taken there says anything of a device.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

BINFMT = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
PACKAGES = ("python3,python3-venv,python3-pip,libc-bin,libstdc++6,libgomp1,dash,bash,coreutils,dpkg,diffutils,tar,sed,"
            "grep,findutils,base-files,base-passwd,perl-base,init-system-helpers,adduser,passwd,login,util-linux,"
            "openssh-client,debianutils")
# The shell stays the parent of what runs: a payload as the namespace's first process would not die of signals.
# binfmt_misc works while it is mounted, under what CHROOT mounts there. Never this machine's /sys: onnxruntime does not
# import with it.
ENTER = """set -e
read -r mapped
mount -t binfmt_misc binfmt_misc "$1/proc"
cat {binfmt} > "$1/proc/register"
shift
"$@"
"""
CHROOT = """set -e
mount -t proc proc "$1/proc"
for node in null zero random urandom; do : >> "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
root=$1; shift
chroot "$root" "$@"
"""


def what_is_missing() -> str:
    """Return why there can be no such root here, '' where there can."""
    if os.geteuid() != 0:
        return "not root: namespaces that hold other users ask for it"
    if not BINFMT.exists():
        return "no qemu for aarch64 (apt install qemu-user-static)"
    if not shutil.which("mmdebstrap"):
        return "no mmdebstrap, which makes the root (apt install mmdebstrap)"
    return ""


def make_root(place: Path) -> None:
    """Leave a root at `place`: a minute, 0.4 GB. Raises CalledProcessError without Debian's archive."""
    half = place.with_name(f"{place.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--architectures=arm64",
                    f"--include={PACKAGES}", "bookworm", half], check=True)
    for name in ("passwd", "group"):  # nothing was configured, so what base-passwd would have done is done here
        shutil.copyfile(half / f"usr/share/base-passwd/{name}.master", half / f"etc/{name}")
    for name in ("status", "available"):
        (half / "var/lib/dpkg" / name).touch()
    for name in ("info", "updates", "triggers"):
        (half / "var/lib/dpkg" / name).mkdir(exist_ok=True)
    cpus = half / "sys/devices/system/cpu"
    cpus.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (cpus / name).write_text("0-1\n")
    half.rename(place)


def enter(root: Path, command: list[str], seconds: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a command in the root, as its root user."""
    return beside(root, ["sh", "-c", CHROOT, "sh", str(root), *command], seconds)


def beside(root: Path, command: list[str], seconds: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Run a command of this machine where programs for aarch64 run as well."""
    started = subprocess.Popen(
        ["unshare", "--user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER.format(binfmt=BINFMT),
         "sh", str(root), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8",
             "QEMU_CPU": "cortex-a76"})  # as Orin's cores; and eight times as fast as qemu's own choice
    here = os.readlink("/proc/self/ns/user")
    while started.poll() is None and os.readlink(f"/proc/{started.pid}/ns/user") == here:
        pass  # until unshare has made its namespace: milliseconds
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{started.pid}/{kind}").write_text("0 0 4294967295")  # every user, so that packages can own files
    try:
        out, err = started.communicate("mapped\n", seconds)
    finally:
        started.kill()
    return subprocess.CompletedProcess(command, started.returncode, out, err)
