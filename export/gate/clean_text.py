"""Text that UTF-8 and XML can hold, of text that holds more: file names that are not UTF-8, control characters."""

from __future__ import annotations

import re

# All but XML 1.0's Char, https://www.w3.org/TR/xml/#charsets; Python's stand-ins for foreign bytes are surrogates
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean_text(text: str) -> str:
    """Return the text with each forbidden code point as \\x.. or \\u...., as Python writes it."""
    return _FORBIDDEN.sub(lambda found: ascii(found[0])[1:-1], text)
