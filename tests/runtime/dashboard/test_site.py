"""The page's addresses: who is refused, what every answer carries, and how one logs in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from dashboard_page import Answer, ask, publish, write_events

from runtime.dashboard.access import TRIES, Access
from runtime.dashboard.board import Board
from runtime.dashboard.guard import App, Guard
from runtime.dashboard.settings import DashboardConfig
from runtime.dashboard.site import FILES, VIEWERS, Site

TOKEN = "t" * 43
ORIGIN = {"origin": "http://localhost:8765"}


def site(tmp_path: Path, token: str | None = None, notice: str = "Watch out", **settings: object) -> Site:
    config = DashboardConfig(port=8765, token_file=Path("t") if token else None, **settings)  # type: ignore[arg-type]
    board = Board(tmp_path, None)
    board.tick()
    return Site(board, Access(token), config, notice, tmp_path, lambda: False)


def log_in(app: App, token: str = TOKEN, headers: dict[str, str] | None = None) -> Answer:
    return ask(app, "/login", "POST", ORIGIN if headers is None else headers, f"token={token}".encode())


@pytest.mark.parametrize("path", ["/", "/login", "/state.json", "/favicon.ico", "/nowhere",
                                  *(f"/page/{file}" for file in FILES)])
def test_every_answer_is_locked_down(tmp_path: Path, path: str) -> None:
    headers = ask(site(tmp_path, TOKEN).app, path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'") and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin" and headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("localhost:8765", 200), ("127.0.0.1:8765", 200), ("[::1]:8765", 200),
    ("kiosk.example:8765", 200), ("KIOSK.example", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
    ("localhost.evil.example:8765", 403), ("", 400)])
def test_only_names_that_are_ours_are_answered(tmp_path: Path, host: str, status: int) -> None:
    assert ask(site(tmp_path, names=("kiosk.example",)).app, "/", headers={"host": host}).status == status


@pytest.mark.parametrize(("method", "path", "headers", "status"), [
    ("PUT", "/", {}, 405), ("DELETE", "/login", ORIGIN, 405), ("POST", "/", ORIGIN, 405),
    ("POST", "/live", ORIGIN, 405),
    ("GET", "/", {"upgrade": "websocket", "connection": "upgrade"}, 400), ("GET", "/", {"content-length": "5"}, 413),
    ("GET", "/", {"transfer-encoding": "chunked"}, 413), ("HEAD", "/", {}, 200), ("HEAD", "/live", {}, 200),
    ("GET", "/page/../site.py", {}, 404), ("GET", "/page/%2e%2e/site.py", {}, 404),
    ("GET", "/page/index.html", {}, 404)])
def test_what_the_page_is_not_for_is_refused(
    tmp_path: Path, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert ask(site(tmp_path).app, path, method, headers).status == status


@pytest.mark.parametrize(("headers", "status"), [
    (ORIGIN, 303), ({"origin": "https://localhost:8765"}, 303), ({**ORIGIN, "sec-fetch-site": "same-origin"}, 303),
    ({}, 403),
    ({"origin": "http://evil.example"}, 403), ({"origin": "null"}, 403), ({"origin": "http://localhost:1"}, 403),
    ({**ORIGIN, "sec-fetch-site": "cross-site"}, 403), ({**ORIGIN, "content-length": "1025"}, 413),
    ({**ORIGIN, "content-length": ""}, 411), ({**ORIGIN, "content-length": "-1"}, 411)])
def test_a_login_comes_from_this_page(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    assert log_in(site(tmp_path, TOKEN).app, headers=headers).status == status


def test_nothing_is_shown_without_the_token(tmp_path: Path) -> None:
    publish(tmp_path, ["happy"], preview=True)
    app = site(tmp_path, TOKEN).app
    assert (ask(app, "/").status, ask(app, "/").headers["location"]) == (303, "/login")
    assert [ask(app, path).status for path in ("/live", "/state.json", "/preview.jpg")] == [401] * 3
    assert TOKEN.encode() not in ask(app, "/login").content


def test_a_login_gives_a_cookie_that_no_script_and_no_other_site_gets(tmp_path: Path) -> None:
    app = site(tmp_path, TOKEN).app
    cookie = log_in(app).headers["set-cookie"]
    assert cookie.startswith("mien=") and "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    session = {"cookie": cookie.partition(";")[0]}
    assert [ask(app, path, headers=session).status for path in ("/", "/state.json")] == [200, 200]
    assert ask(app, "/logout", "POST", {**ORIGIN, **session}).status == 303
    assert ask(app, "/state.json", headers=session).status == 401


def test_behind_encryption_the_cookie_travels_encrypted_alone(tmp_path: Path) -> None:
    cookie = log_in(site(tmp_path, TOKEN, behind_tunnel=True).app).headers["set-cookie"]
    assert cookie.startswith("__Host-mien=") and "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie


def test_a_token_may_come_in_a_header_and_in_no_address(tmp_path: Path) -> None:
    app = site(tmp_path, TOKEN).app
    assert ask(app, "/state.json", headers={"authorization": f"Bearer {TOKEN}"}).status == 200
    assert ask(app, "/state.json", headers={"authorization": "Bearer wrong"}).status == 401
    assert ask(app, "/state.json", headers={"authorization": f"Basic {TOKEN}"}).status == 401
    assert ask(app, f"/state.json?token={TOKEN}").status == 401


def test_a_wrong_token_is_told_and_too_many_wait(tmp_path: Path) -> None:
    app = site(tmp_path, TOKEN).app
    assert [log_in(app, "wrong").status for _ in range(TRIES)] == [401] * TRIES
    refused = log_in(app)
    assert refused.status == 429 and refused.headers["retry-after"] == "6" and b"Too many" in refused.content


@pytest.mark.parametrize("body", [b"", b"token", b"\xff\xfe", b"token=%00", b"a=1&b=2&c=3&d=4&e=5&f=6"])
def test_an_odd_login_is_a_wrong_one(tmp_path: Path, body: bytes) -> None:
    assert ask(site(tmp_path, TOKEN).app, "/login", "POST", ORIGIN, body).status == 401


def test_the_notice_is_text_whatever_it_holds(tmp_path: Path) -> None:
    content = ask(site(tmp_path, notice="<script>alert('x')</script>&").app).content
    assert b"&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;" in content and content.count(b"<script") == 1


def test_the_pages_hold_nothing_inline_and_nothing_from_elsewhere() -> None:
    folder = Path(__file__).resolve().parents[3] / "runtime/dashboard/page"
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text, file
        made_of_text = ("innerHTML", "outerHTML", "insertAdjacent", "eval", "document.write")
        assert [word for word in made_of_text if word in text] == [], file
        if file.suffix == ".html":
            assert "style=" not in text and "<style" not in text and "onclick" not in text and "javascript:" not in text
            assert text.count("<script") == text.count('src="/page/')


def test_changes_are_told_as_server_sent_events(tmp_path: Path) -> None:
    publish(tmp_path, ["happy"])
    answer = ask(site(tmp_path).app, "/live", until=lambda content: b"event: state" in content)
    assert answer.headers["content-type"].startswith("text/event-stream")
    kinds = [block.split(b"\n")[0] for block in answer.content.split(b"\n\n") if block]
    assert set(kinds) == {b"event: events", b"event: shares", b"event: state"}
    assert all(block.count(b"\n") == 1 for block in answer.content.split(b"\n\n") if block)


def test_viewers_are_bounded_and_forgotten_when_they_go(tmp_path: Path) -> None:
    here = site(tmp_path)
    here._viewers = VIEWERS
    assert ask(here.app, "/live").status == 503
    here._viewers = VIEWERS - 1
    ask(here.app, "/live", until=lambda content: b"state" in content)
    assert here._viewers == VIEWERS - 1


def test_a_preview_is_there_or_not(tmp_path: Path) -> None:
    app = site(tmp_path).app
    assert ask(app, "/preview.jpg").status == 404
    publish(tmp_path, ["happy"], preview=True)
    answer = ask(app, "/preview.jpg")
    assert answer.headers["content-type"] == "image/jpeg" and answer.content[:2] == b"\xff\xd8"


def test_the_state_may_be_read_at_once(tmp_path: Path) -> None:
    write_events(tmp_path / "e.jsonl", ["happy"])
    publish(tmp_path, ["sad"])
    assert b'"label":"sad"' in ask(site(tmp_path).app, "/state.json").content


def test_what_fails_is_500_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a page's own mistake")

    with caplog.at_level(logging.WARNING):
        assert ask(Guard(broken), "/").status == 500  # type: ignore[arg-type]
    assert [r.exc_info for r in caplog.records] == [None] and "own mistake" in caplog.text
