"""A model's configuration → protobuf text, config.pbtxt. Knows the format, and nothing of models.

https://protobuf.dev/reference/protobuf/textformat-spec/; its messages are model_config.proto's, of
https://github.com/triton-inference-server/common
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Name(str):
    """A value of an enumeration, which stands without quotes."""


def protobuf_text(fields: Mapping[str, Any], depth: int = 0) -> str:
    """Return fields as text: a mapping is a message, a list of mappings is several, other lists stand in brackets."""
    indent = "  " * depth
    lines = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            value = [value]
        if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            lines += [f"{indent}{name} {{\n{protobuf_text(each, depth + 1)}{indent}}}\n" for each in value]
        elif isinstance(value, list):
            lines.append(f"{indent}{name}: [ {', '.join(map(_scalar, value))} ]\n")
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, Name):
        return str(value)
    # JSON's quotes and escapes are protobuf's too, but for its pairs of surrogates: text beyond ASCII stays as it is
    return json.dumps(value, ensure_ascii=False)
