"""An expression model whose faces are cut around the box → the same graphs, fed faces aligned by five landmarks.

Only the card and the golden vectors change: the crop is the runtime's. Knows nothing of detectors, nor what the crop
does to accuracy: `crop_cost.py` measures that.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import nn

from export.changing_model import changing_model
from export.golden import golden_bytes, make_golden
from export.golden_bound import golden_bound
from export.photograph import load_photograph
from runtime.card import FileEntry, Model, ModelCard, save_card
from runtime.errors import BadInput
from train.expression.stream_crops import aligned_input
from train.expression.task import predict


def align_model(model: Model, network: nn.Module) -> ModelCard:
    """Write the card with the template, and golden vectors of aligned faces with the network's own logits.

    network: the one that the model was exported from. Raises BadInput where it answers otherwise than the model's
    golden vectors say, and what `changing_model` raises.
    """
    card, before = model.card, model.read_golden()
    apart = float(np.abs(predict(network, before.faces) - before.logits).max())
    if not apart <= card.golden_bound["fp32"]:
        raise BadInput(f"expected the checkpoint that {model.directory} was exported from, found one whose golden "
                       f"logits are {apart:.3g} apart; give its own")
    how = aligned_input(card.input)
    golden = make_golden(load_photograph(), how, card.labels, lambda faces: predict(network, faces), card.temperature)
    with changing_model(model) as directory:
        (directory / "golden.npz").write_bytes(golden_bytes(golden))
        aligned = dataclasses.replace(card, input=how, golden=FileEntry.of(directory / "golden.npz"))
        save_card(directory, aligned)
        int8 = {graph: golden_bound(Model(directory, aligned), graph, model.read_graph(graph))
                for graph in card.graphs if graph.startswith("int8")}
        # a bound derived from the integer oracle is of any face, and stays where it is the wider one
        bounds = {graph: max(bound, int8.get(graph, 0.0)) for graph, bound in card.golden_bound.items()}
        aligned = dataclasses.replace(aligned, golden_bound=bounds)
        save_card(directory, aligned)
    return aligned
