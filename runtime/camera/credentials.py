"""A camera's `user:password`, from the environment or from a file that only its owner may read.

Never from an address: addresses stand in configurations, command lines and logs. Knows nothing of cameras.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from runtime.errors import BadInput

VARIABLE = "MIEN_CAMERA_CREDENTIALS"
MOST_BYTES = 4096
WHERE = (f"put `user:password` into the environment as {VARIABLE}, or into a file that only its owner may read "
         "(chmod 600)")


def read_credentials(path: Path | None = None) -> str:
    """Return `user:password`, from the file where one is named, else from the environment; "" where neither is set.

    Raises BadInput for a file that others may read, or that holds something else; what it holds is never repeated.
    """
    if path is None:
        return _checked(os.environ.get(VARIABLE, ""), VARIABLE)
    try:
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())  # of what was opened, not of what the name means by now
            if not stat.S_ISREG(facts.st_mode) or facts.st_mode & 0o077 or facts.st_uid not in (0, os.geteuid()):
                raise BadInput(f"expected credentials that only their owner may read, found {path} with mode "
                               f"{stat.S_IMODE(facts.st_mode):o}; chmod 600 it, as the user that runs this")
            content = file.read(MOST_BYTES)
    except OSError as error:
        raise BadInput(f"expected camera credentials in {path}, found {error.strerror}; {WHERE}") from error
    text = content.decode("utf-8", "replace").strip()
    if not text:
        raise BadInput(f"expected `user:password` in {path}, found nothing; {WHERE}")
    return _checked(text, str(path))


def refuse_in_address(address: str) -> None:
    """Raise BadInput for an address with a password in it, without repeating the address."""
    parts = urlsplit(address)
    if "@" in parts.netloc:
        raise BadInput(f"expected an {parts.scheme}:// address without a password, found one with; {WHERE}")


def _checked(text: str, where: str) -> str:
    if text and (":" not in text or not text.isprintable()):
        raise BadInput(f"expected `user:password` in {where}, found something else; {WHERE}")
    return text
