"""YAML at the edge: strict, and every refusal names the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.config import MAX_BYTES, build, parse_yaml, read_yaml
from runtime.errors import BadConfig


@dataclass(frozen=True)
class Inner:
    """A nested mapping."""

    depth: int = 1


@dataclass(frozen=True)
class Sample:
    """One field of each kind."""

    rate: float = 1.0
    count: int = 0
    name: str = ""
    kind: Literal["grey", "rgb"] = "grey"
    place: Path | None = None
    sizes: tuple[int, ...] = ()
    inner: Inner = field(default_factory=Inner)
    flag: bool = False

    def __post_init__(self) -> None:
        if self.count > 10:
            raise ValueError(f"expected a count of at most 10, found {self.count}")


def sample(text: str) -> Sample:
    return build(Sample, parse_yaml(text, "t.yaml"), "t.yaml")


def test_an_empty_file_gives_the_defaults() -> None:
    assert sample("") == Sample()


def test_every_kind_of_value_is_read() -> None:
    text = "{rate: 2, count: 3, name: a, kind: rgb, place: /x, sizes: [1, 2], inner: {depth: 4}, flag: true}"
    assert sample(text) == Sample(2.0, 3, "a", "rgb", Path("/x"), (1, 2), Inner(4), True)


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000.0), ("1E-2", 0.01), ("-2e2", -200.0), ("1.5e+1", 15.0)])
def test_a_power_of_ten_without_a_point_is_a_number(text: str, value: float) -> None:
    assert sample(f"rate: {text}").rate == value


def test_an_unknown_key_is_refused_with_a_suggestion() -> None:
    with pytest.raises(BadConfig, match=r"found ratte; did you mean rate\?"):
        sample("ratte: 1")


def test_an_unknown_nested_key_is_named_by_its_path() -> None:
    with pytest.raises(BadConfig, match=r"found inner.dept; did you mean inner.depth\?"):
        sample("inner: {dept: 1}")


def test_a_duplicate_key_is_refused_with_its_line() -> None:
    with pytest.raises(BadConfig, match=r"t.yaml:2.*duplicate key 'rate'"):
        sample("rate: 1\nrate: 2")


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_number_that_is_not_finite_is_refused(value: str) -> None:
    with pytest.raises(BadConfig, match="finite number for rate"):
        sample(f"rate: {value}")


@pytest.mark.parametrize(
    "text", ["count: true", "count: 1.5", "count: '1'", "flag: 1", "name: 5", "sizes: 3", "rate: fast"])
def test_a_wrong_type_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="expected .* for " + text.split(":")[0]):
        sample(text)


def test_a_word_outside_the_choices_is_refused() -> None:
    with pytest.raises(BadConfig, match="did you mean grey"):
        sample("kind: gray")


def test_a_range_checked_by_the_dataclass_is_refused_as_config() -> None:
    with pytest.raises(BadConfig, match="at most 10, found 11"):
        sample("count: 11")


def test_a_missing_value_is_named() -> None:
    @dataclass(frozen=True)
    class Needs:
        source: str

    with pytest.raises(BadConfig, match="value for source"):
        build(Needs, {}, "t.yaml")


def test_nesting_of_thousands_is_refused() -> None:
    with pytest.raises(BadConfig, match="nested deeper"):
        parse_yaml("[" * 3000 + "]" * 3000, "t.yaml")


def test_an_alias_bomb_is_refused() -> None:
    with pytest.raises(BadConfig, match="aliases are not allowed"):
        parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "t.yaml")


def test_a_list_is_no_config() -> None:
    with pytest.raises(BadConfig, match="found a list"):
        parse_yaml("- 1", "t.yaml")


def test_a_python_object_is_refused() -> None:
    with pytest.raises(BadConfig):
        parse_yaml("a: !!python/object/apply:os.system ['true']", "t.yaml")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(BadConfig, match="at most"):
        read_yaml(tmp_path / "t.yaml")


def test_an_integer_that_no_float_holds_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"finite number for \S+ in t\.yaml, found inf"):
        sample(f"rate: 1{'0' * 400}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"nowhere\.yaml"):
        read_yaml(tmp_path / "nowhere.yaml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(BadConfig, match="UTF-8"):
        read_yaml(tmp_path / "t.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:{}[]-,&*!|>'\"#%@?\n \t0.e1~\x00\ud800", max_size=60))
def test_no_text_escapes_as_another_exception(text: str) -> None:
    try:
        sample(text)
    except BadConfig as error:
        assert "\n" not in str(error)
