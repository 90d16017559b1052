"""The layers of an engine as one HTML page: what each became, against what its graph asked for. No script.

Judges nothing (`runtime/engines/layer_verdicts.py`) and inspects nothing: it shows what it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runtime.engines.layer_verdicts import VERDICTS, JudgedLayer, count_verdicts
from train.expression.html_page import facts_table, html_page, table, text

_MEANING = {
    "as asked": "reads, writes and stores only what the graph asks for",
    "not as asked": "reads, writes or stores something else",
    "opaque": "does not tell enough to say; what generated code computes in between nobody tells",
}


def layer_page(title: str, layers: Sequence[JudgedLayer], origin: Mapping[str, object]) -> str:
    """Return the page: verdicts counted, doubtful layers first, then every layer in the engine's order.

    origin: what the page was made of, by name, as a table at its end.
    """
    counts = count_verdicts(layers)
    doubtful = [layer for verdict in VERDICTS[:2] for layer in layers if layer.verdict == verdict]
    parts = [
        f"<h1>{text(title)}</h1>",
        "<p class='verdict'>" + ", ".join(f"{count} {text(verdict)}" for verdict, count in counts.items()) + "</p>",
        table(["verdict", "layers", "meaning"],
              [[verdict, str(count), _MEANING[verdict]] for verdict, count in counts.items()]),
    ]
    if doubtful:
        parts += ["<h2>Not proven</h2>", table(["layer", "verdict", "why"],
                                               [[d.layer.name, d.verdict, d.why] for d in doubtful])]
    parts += [
        "<h2>Every layer</h2>",
        table(["layer", "kind", "reads", "weights", "writes", "verdict", "nodes of the graph", "kernel"],
              [_row(layer) for layer in layers]),
        "<p class='quiet'>In the engine’s order. Types as the engine inspector tells them; “?” where it does not.</p>",
        "<h2>Where it came from</h2>", facts_table(origin),
    ]
    return html_page(title, parts)


def _row(judged: JudgedLayer) -> list[str]:
    layer = judged.layer
    return [layer.name, layer.kind, _types(layer.reads), layer.weights, _types(layer.writes), judged.verdict,
            ", ".join(judged.nodes), layer.tactic]


def _types(types: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(type_ or "?" for type_ in types))
