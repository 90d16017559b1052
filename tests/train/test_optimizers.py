"""Optimizers: the kind the recipe names, and what decays."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from toy_task import RECIPE, toy_network

from train.optimizers import make_optimizer


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam),
                                            ("sgd", torch.optim.SGD)])
def test_the_recipe_names_the_kind(name: str, kind: type) -> None:
    optimizer = make_optimizer(toy_network(), dataclasses.replace(RECIPE, optimizer=name, learning_rate=0.25))
    assert type(optimizer) is kind and {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_biases_and_batch_norms_do_not_decay() -> None:
    groups = make_optimizer(toy_network(), RECIPE).param_groups
    for group in groups:
        assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] == RECIPE.weight_decay}
    assert sum(len(group["params"]) for group in groups) == len(list(toy_network().parameters()))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgds_momentum_is_nesterovs_where_there_is_any(momentum: float) -> None:
    optimizer = make_optimizer(toy_network(), dataclasses.replace(RECIPE, optimizer="sgd", momentum=momentum))
    assert {(g["momentum"], g["nesterov"]) for g in optimizer.param_groups} == {(momentum, momentum > 0)}


def test_a_frozen_weight_is_left_alone() -> None:
    network = toy_network()
    network[0].weight.requires_grad_(False)
    given = [p for group in make_optimizer(network, RECIPE).param_groups for p in group["params"]]
    assert not any(p is network[0].weight for p in given) and given
