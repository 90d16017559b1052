"""A page as one HTML file: frame, look, tables, escaping. No script, no link; light or dark as the reader's system is.

Knows no figures: what a page says is its caller's. Everything that is not markup goes through `text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #24292f; --quiet: #59636e; --line: #d1d9e0; --bar: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --ink: #e6e8eb; --quiet: #9aa4ae; --line: #343b42; --bar: #56b4e9; }
}
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0; } .quiet { color: var(--quiet); } .verdict { font-size: 1.15rem; margin: .9rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .28rem .7rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; } th { font-weight: 600; color: var(--quiet); }
th, td { white-space: nowrap; } table.facts td { text-align: left; white-space: normal; }
table.facts td:first-child { color: var(--quiet); }
.wide { overflow-x: auto; } code { font-size: .88em; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .65em; background: var(--bar); margin-right: .5em; }
svg, img { max-width: 100%; height: auto; display: block; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; } .pair > * { flex: 1 1 26rem; min-width: 0; }
"""


def html_page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; title: plain text, parts: markup."""
    return ("<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
            f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(parts) + "\n</body>\n</html>\n")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain texts; the first column stands left, the others right."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in heads)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def facts_table(facts: Mapping[str, object]) -> str:
    """Return a table of two columns: what a fact is called, and the fact."""
    rows = "".join(f"<tr><td>{text(k)}</td><td><code>{text(v)}</code></td></tr>" for k, v in facts.items())
    return f"<div class='wide'><table class='facts'>{rows}</table></div>"


def text(value: object) -> str:
    """Return a value as text that no browser takes for markup, inside quotes neither."""
    return html.escape(str(value))


def percent(share: float, unit: str = " %") -> str:
    """Return a share of 0–1 in percent, one decimal."""
    return f"{100 * share:.1f}{unit}"
