"""Who may see the page: the token's file, sessions, and how often a token may be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.dashboard import access
from runtime.dashboard.access import SESSION_SECONDS, SESSIONS, TRIES, TRY_SECONDS, Access, make_token, read_token
from runtime.errors import BadInput


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_made_token_has_256_bits_and_is_its_owners_alone(tmp_path: Path) -> None:
    make_token(tmp_path / "t")
    assert len(read_token(tmp_path / "t")) == 43 and (tmp_path / "t").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadInput, match="remove the old one"):
        make_token(tmp_path / "t")


@pytest.mark.parametrize(("content", "mode", "told"), [
    ("a" * 43, 0o640, "chmod 600"), ("a" * 43, 0o604, "chmod 600"), ("a" * 42, 0o600, "43 to 128"),
    ("", 0o600, "43 to 128"), ("a b" * 20, 0o600, "43 to 128"), ("ä" * 60, 0o600, "43 to 128")])
def test_a_token_that_is_weak_or_readable_is_refused(tmp_path: Path, content: str, mode: int, told: str) -> None:
    (tmp_path / "t").write_text(content)
    (tmp_path / "t").chmod(mode)
    with pytest.raises(BadInput, match=told) as refused:
        read_token(tmp_path / "t")
    assert content == "" or content not in str(refused.value)


def test_a_missing_token_file_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--make-token"):
        read_token(tmp_path / "t")


def test_the_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(access.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    judge = Access("t" * 43)
    assert judge.is_token("t" * 43) and not judge.is_token("") and not judge.is_token("é" * 9999)
    assert compared == [(32, 32)] * 3


def test_nothing_keeps_the_token_itself() -> None:
    judge = Access("secret" * 8)
    assert "secret" not in repr(vars(judge))


def test_a_session_ends_by_itself_and_on_request() -> None:
    clock = Clock()
    judge = Access("t" * 43, clock)
    first, second = judge.begin_session(), judge.begin_session()
    assert judge.is_session(first) and judge.is_session(second) and not judge.is_session("")
    judge.end_session(first)
    assert not judge.is_session(first) and judge.is_session(second)
    clock.now += SESSION_SECONDS
    assert not judge.is_session(second)


def test_sessions_are_bounded() -> None:
    judge = Access("t" * 43)
    sessions = [judge.begin_session() for _ in range(SESSIONS + 1)]
    assert [judge.is_session(each) for each in sessions] == [False] + [True] * SESSIONS


def test_tries_are_few_and_come_back_slowly() -> None:
    clock = Clock()
    judge = Access("t" * 43, clock)
    assert [judge.may_try() for _ in range(TRIES + 2)] == [True] * TRIES + [False] * 2
    clock.now += TRY_SECONDS
    assert [judge.may_try() for _ in range(2)] == [True, False]
    clock.now += 1e6
    assert sum(judge.may_try() for _ in range(100)) == TRIES


def test_without_a_token_nobody_is_asked() -> None:
    judge = Access(None)
    assert not judge.is_needed and not judge.is_token("") and not judge.is_session("")
