"""Who signed a manifest: `ssh-keygen -Y verify` with an `allowed_signers` file, namespace `mien`.

https://man.openbsd.org/ssh-keygen.1#ALLOWED_SIGNERS. Knows no key of its own: who may sign is the device's file.
"""

from __future__ import annotations

import base64
import subprocess
import tempfile
from pathlib import Path

from runtime.errors import BadInput, Unavailable

NAMESPACE = "mien"
MAX_SIGNATURE_BYTES = 16 << 10  # of RSA with 16,384 bits: 6 KB
FIRST, LAST = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
LINE = 70  # characters a line, as OpenSSH writes them


def signer_of(content: bytes, signature: bytes, signers: Path) -> str:
    """Return the principal whose key signed the content. Raises BadInput, and Unavailable without ssh-keygen.

    The armour must be OpenSSH's own, to the byte: base64 has several spellings of one signature.
    """
    if not _is_canonical(signature):
        raise BadInput("expected an SSH signature in manifest.json.sig, found something else; sign the bundle again")
    if not signers.is_file():
        raise BadInput(f"expected the keys that may sign in {signers}, found no file; put the release key's line there")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sig"
        file.write_bytes(signature)
        common = ["-f", str(signers), "-s", str(file)]
        found = ssh_keygen(["-Y", "find-principals", *common], b"")
        principal = found.stdout.decode(errors="replace").partition("\n")[0]
        if found.returncode or not principal:
            raise BadInput(f"expected a signature by a key of {signers}, found another's; sign with such a key, or add "
                           "this one's line")
        verified = ssh_keygen(["-Y", "verify", "-I", principal, "-n", NAMESPACE, *common], content)
    if verified.returncode:
        raise BadInput(f"expected a manifest as {principal} signed it for {NAMESPACE}, found another; make or copy the "
                       "bundle again")
    return principal


def ssh_keygen(arguments: list[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run ssh-keygen on bytes. Raises Unavailable where there is none."""
    try:
        return subprocess.run(["ssh-keygen", *arguments], input=content, capture_output=True, check=False, timeout=60)
    except FileNotFoundError as error:
        raise Unavailable("expected ssh-keygen, found none; apt install openssh-client") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable("expected ssh-keygen to answer within a minute, found silence; does it wait for a "
                          "passphrase? use ssh-agent and the .pub file") from error


def _is_canonical(signature: bytes) -> bool:
    if not (signature.startswith(FIRST) and signature.endswith(LAST)):
        return False
    try:
        blob = base64.b64decode(b"".join(signature[len(FIRST):-len(LAST)].splitlines()), validate=True)
    except ValueError:
        return False
    text = base64.b64encode(blob)
    lines = [text[at:at + LINE] + b"\n" for at in range(0, len(text), LINE)]
    return FIRST + b"".join(lines) + LAST == signature
