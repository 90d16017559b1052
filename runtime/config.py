"""YAML → frozen dataclasses, strictly: duplicate keys, unknown keys, wrong types and NaN are refused by key path.

PyYAML lets the last duplicate win, and reads `1e3` as text, `010` as 8 and `1:30` as 90; none of it happens here. Knows
no particular setting: the dataclass given is the schema, its field types the check.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from runtime.errors import BadConfig

MAX_BYTES = 256 * 1024  # a stream.yaml is 4 KB; a thousand times that is a mistake or an attack
MAX_DEPTH = 20
OTHER_IN_YAML_1_1 = re.compile(r"[-+]?(0[0-9_]+$|[^.]*_|.*:)")  # octal 010, 1_000, base 60
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # no path, name or notice holds such

T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without aliases, with YAML 1.2 floats, and with an error on a duplicate key."""

    depth = 0

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Stop at brackets too deep before the scanner looks behind them: 3,000 in a row cost it a second."""
        if self.flow_level >= MAX_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"nested deeper than {MAX_DEPTH}", self.get_mark())
        super().fetch_flow_collection_start(token)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.constructor.ConstructorError(None, None, f"nested deeper than {MAX_DEPTH}", None)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(None, None, "a key is not text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: Any) -> int | float:
        """Read a number as YAML 1.2 does; what 1.1 and 1.2 read differently is refused."""
        if OTHER_IN_YAML_1_1.match(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value[:40]!r} (YAML 1.1 and 1.2 disagree what number that is)", node.start_mark)
        is_int = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.construct_number)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def parse_yaml(text: str, source: str) -> dict[str, Any]:
    """Parse one YAML mapping; `source` names it in errors. Raises BadConfig."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise BadConfig(f"expected a YAML file of at most {MAX_BYTES} bytes, found more in {source}")
    loader = None
    try:
        loader = _StrictLoader(text)
        content = loader.get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise BadConfig(f"expected valid YAML in {where}, found: {problem}; correct that line") from error
    finally:
        if loader is not None:
            loader.dispose()
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadConfig(f"expected 'key: value' lines in {source}, found a {type(content).__name__}; see the docs")
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping from a file. Raises BadConfig."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadConfig(f"expected a YAML file of at most {MAX_BYTES} bytes, found more in {path}")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise BadConfig(f"expected a readable YAML file, found {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise BadConfig(f"expected UTF-8 text, found other bytes in {path}; save it as UTF-8") from error


def build(schema: type[T], values: dict[str, Any], source: str, prefix: str = "") -> T:
    """Make a `schema` dataclass of `values`; every problem is named by its key path. Raises BadConfig."""
    hints = typing.get_type_hints(schema)
    fields = {field.name: field for field in dataclasses.fields(schema)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            close = _nearest(str(key), list(fields))
            advice = f"did you mean {prefix}{close[0]}?" if close else f"known keys: {', '.join(fields)}"
            raise BadConfig(f"expected a known key in {source}, found {prefix}{key}; {advice}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise BadConfig(f"expected a value for {prefix}{name} in {source}, found none; add it")
    built = {key: _convert(hints[key], value, source, prefix + key) for key, value in values.items()}
    try:
        return schema(**built)
    except ValueError as error:  # a dataclass checks its own ranges in __post_init__
        raise BadConfig(f"{error} (in {source}, under {prefix or 'the top level'})") from error


def _nearest(word: str, known: list[str]) -> list[str]:
    import difflib  # for mistakes alone

    return difflib.get_close_matches(word, known, n=1)


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """Check one value against its annotation; ints widen to floats, lists become tuples, mappings dataclasses."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, source, key)
    if origin is typing.Literal:
        if value not in args:
            close = _nearest(str(value), [str(a) for a in args])
            advice = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(map(str, args))}"
            raise BadConfig(f"expected a known value for {key} in {source}, found {value!r}; {advice}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise BadConfig(f"expected a list for {key} in {source}, found {value!r}")
        item_hints = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(item_hints) != len(value):
            raise BadConfig(f"expected {len(item_hints)} items for {key} in {source}, found {len(value)}")
        return tuple(_convert(h, v, source, f"{key}[{i}]") for i, (h, v) in enumerate(zip(item_hints, value)))
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(k, args[0]) for k in value):
            raise BadConfig(f"expected keys under {key} in {source}, found {value!r}")
        return {k: _convert(args[1], v, source, f"{key}.{k}") for k, v in value.items()}
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise BadConfig(f"expected keys under {key} in {source}, found {value!r}")
        return build(typing.cast(type, hint), value, source, f"{key}.")
    if hint is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise BadConfig(f"expected a finite number for {key} in {source}, found {number}")
        return number
    if type(value) is str and UNPRINTABLE.search(value):
        raise BadConfig(f"expected printable text for {key} in {source}, found {value[:60]!r}")
    if hint is Path and type(value) is str:
        return Path(value)
    if type(value) is not hint:  # `type`, not isinstance: True is no int here
        raise BadConfig(f"expected {hint.__name__} for {key} in {source}, found {value!r}")
    return value
