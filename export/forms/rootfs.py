"""A kiosk's package and NVIDIA's → `Linux_for_Tegra/rootfs`, so that a Jetson comes up as a kiosk without a network.

Run after NVIDIA's `apply_binaries.sh`, whose root carries neither CUDA nor TensorRT. Flashes nothing, fetches nothing.
https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/SD/FlashingSupport.html ("Skipping oem-config").
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from export.forms.installed_config import target_in_deb
from runtime.errors import BadInput, MienError, Unavailable

BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
USER_TOOL = "tools/l4t_create_default_user.sh"
PLACE = "var/tmp/mien-debs"  # in the root, while it is worked on
# In a mount namespace of its own, which the kernel takes away with the shell, however that ends. Services must not
# start in a chroot: policy-rc.d says so (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).
INSTALL = """set -e
root=$1
trap 'rm -rf "$root/{place}" "$root/usr/sbin/policy-rc.d"' EXIT
printf '#!/bin/sh\\nexit 101\\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mount -t proc proc "$root/proc"
for node in null zero random urandom; do : >> "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \\
    sh -c 'dpkg --install --force-confold {flags}/{place}/*.deb'
"""


@dataclass(frozen=True)
class RootPlan:
    """What will be done: packages in the order of their names, and a first user, who makes oem-config superfluous."""

    tegra: Path
    debs: tuple[Path, ...]
    user: str
    password_file: Path
    has_tensorrt: bool

    @property
    def root(self) -> Path:
        """The root file system that will be flashed."""
        return self.tegra / "rootfs"

    def lines(self) -> list[str]:
        """Return what will be done, for people; no password."""
        return [*(f"install {path.name} into {self.root}" for path in self.debs),
                f"{self.tegra / USER_TOOL} --username {self.user}: oem-config is skipped",
                "the kiosk runs on its GPU: engines are compiled at the first boot" if self.has_tensorrt else
                "no TensorRT among the packages and in the root: the kiosk starts on the CPU"]


def plan_root(tegra: Path, kiosk: Path, debs: Path | None, user: str, password_file: Path) -> RootPlan:
    """Judge everything before anything is changed. Raises BadInput."""
    tegra = tegra.absolute()
    if not (tegra / "rootfs" / "etc" / "nv_tegra_release").is_file():
        raise BadInput(f"expected a root after NVIDIA's apply_binaries.sh in {tegra / 'rootfs'}, found no "
                       "etc/nv_tegra_release; run sudo ./apply_binaries.sh there first")
    if not (tegra / USER_TOOL).is_file():
        raise BadInput(f"expected NVIDIA's {USER_TOOL} in {tegra}, found none; unpack the whole driver package")
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", user) or user == "mien":
        raise BadInput("expected a name for the device's first user, a–z, 0–9, - and _, other than mien, found "
                       f"{user!r}")
    if not password_file.is_file() or not password_file.read_text().strip():
        raise BadInput(f"expected a file with that user's password, found none in {password_file}; write one, mode 600")
    found = tuple(sorted(debs.glob("*.deb"))) if debs else ()
    if debs and not found:
        raise BadInput(f"expected CUDA's and TensorRT's .deb files in {debs}, found none; SDK Manager downloads them")
    has_tensorrt = any(path.name.startswith("python3-libnvinfer") for path in found) or _is_installed(
        tegra / "rootfs", "python3-libnvinfer")
    if (target := target_in_deb(kiosk)).startswith("tensorrt") and not has_tensorrt:
        raise BadInput(f"expected python3-libnvinfer's .deb for target: {target}, found none in {debs or 'no --debs'}; "
                       "give --debs, or bundle a configuration with target: auto, which starts on the CPU")
    return RootPlan(tegra, (*found, kiosk.absolute()), user, password_file, has_tensorrt)


def require_emulator() -> None:
    """Raise Unavailable where programs of the device do not run here."""
    if platform.machine() != "aarch64" and not BINFMT.exists():
        raise Unavailable("expected programs for aarch64 to run here, found no qemu for them; apt install "
                          "qemu-user-static, as NVIDIA's tools/l4t_flash_prerequisites.sh does")


def install_into(plan: RootPlan, force_depends: bool = False) -> None:
    """Do it, as root. Doing it again converges. force_depends: the root has what dpkg does not know of. Raises
    MienError with dpkg's own line."""
    place = plan.root / PLACE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    try:
        for path in plan.debs:
            shutil.copyfile(path, place / path.name)
        script = INSTALL.format(place=PLACE, flags="--force-depends " if force_depends else "")
        _run(["unshare", "--mount", "sh", "-c", script, "sh", str(plan.root)], "the packages to be installed")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    # bash, which NVIDIA's tools are written for: Debian's sh is another; the password goes as an argument only
    _run(["bash", str(plan.tegra / USER_TOOL), "--username", plan.user, "--password",
          plan.password_file.read_text().strip(), "--accept-license"], "the first user to be made", plan.tegra)


def _is_installed(root: Path, package: str) -> bool:
    try:
        status = (root / "var/lib/dpkg/status").read_text(errors="replace")
    except FileNotFoundError:
        return False
    return bool(re.search(rf"(?m)^Package: {package}\nStatus: install ok installed$", status))


def _run(command: list[str], wanted: str, folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False)
    except OSError as error:
        raise Unavailable(f"expected {shlex.quote(command[0])} to run here, found {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        raise MienError(f"expected {wanted}, found exit {done.returncode}: {said[-1].strip()}; mend that and do it "
                        "again")
