"""Recipes: every shipped one is sound, every mistake is named."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch

from runtime.config import build
from runtime.errors import BadConfig, BadInput
from train.datasets import DATASETS, FOLDERS
from train.networks import NETWORKS, build_network
from train.recipe import RECIPES, DataName, Recipe, load_recipe

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "mine.yaml").write_text(text)
    return str(tmp_path / "mine.yaml")


def test_the_shipped_model_has_its_recipe() -> None:
    assert "mien-light" in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_names_a_network_that_exists(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name and recipe.network in NETWORKS
    assert all(side >= NETWORKS[recipe.network].smallest for _, side in recipe.image_sizes)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_builds_its_network_for_its_faces(name: str) -> None:
    recipe = load_recipe(name)
    network = build_network(recipe.network, 7, recipe.dropout, recipe.channels, recipe.side, **recipe.network_options)
    with torch.inference_mode():
        for side in {recipe.size_at(epoch) for epoch in range(recipe.epochs)}:
            faces = torch.zeros(2, recipe.channels, side, side, dtype=torch.uint8)
            assert network.eval()(faces).shape == (2, 7)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_says_where_it_comes_from(name: str) -> None:
    assert (RECIPES / f"{name}.yaml").read_text().startswith("# ")


def test_a_recipe_may_name_every_data_set() -> None:
    assert set(get_args(DataName)) == {*DATASETS, FOLDERS}


def test_a_file_gives_its_name_to_the_recipe(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "network: small-vgg\n")).name == "mine"


def test_an_exponent_without_a_point_is_a_number(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "network: small-vgg\nlearning_rate: 1e-3\n")).learning_rate == 0.001


def test_what_the_command_line_gives_wins_over_the_file() -> None:
    assert load_recipe("small-vgg", epochs=3, seed=None) == load_recipe("small-vgg", epochs=3)
    assert load_recipe("small-vgg", epochs=3).epochs == 3


def test_a_change_may_reach_below_a_key_and_is_read_as_yaml() -> None:
    changed = load_recipe("paper-a", ["network_options.hidden=256", "image_sizes=[[0, 32], [0.5, 48]]", "warm_up=1e-1"])
    assert changed.network_options == {"hidden": 256} and changed.warm_up == 0.1
    assert changed.image_sizes == ((0.0, 32), (0.5, 48))


@pytest.mark.parametrize("said", ["epochs", "=3", "epochs.x=3", "epocs=3", "network_options.hidden=: :"])
def test_a_change_that_makes_no_sense_is_refused(said: str) -> None:
    with pytest.raises(BadInput, match="expected"):
        load_recipe("mien-light", ["epochs=4", said])


def test_sizes_grow_at_their_shares_of_the_run() -> None:
    recipe = Recipe(name="x", network="small-vgg", epochs=10, image_sizes=((0.0, 32), (0.3, 40), (0.6, 48)))
    assert [recipe.size_at(epoch) for epoch in range(10)] == [32, 32, 32, 40, 40, 40, 48, 48, 48, 48]


def test_a_recipe_as_plain_values_makes_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("mien-light")
    assert build(Recipe, recipe.as_dict(), "x") == recipe


def test_without_sizes_every_epoch_has_the_crops() -> None:
    recipe = Recipe(name="x", network="small-vgg", size=48, crop=44)
    assert {recipe.size_at(epoch) for epoch in range(recipe.epochs)} == {44}


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(BadInput, match="did you mean light-vgg16"):
        load_recipe("light-vgg19")


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(BadInput, match="known: .*small-vgg"):
        load_recipe("zzz")


def test_an_unknown_key_below_another_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"augmentation\.rotate; did you mean augmentation\.rotation"):
        load_recipe(write(tmp_path, "network: small-vgg\naugmentation:\n  rotate: 3\n"))


@pytest.mark.parametrize("line", [
    "epochs: 0", "batch_size: 1", "image_sizes: [[0.0, 32]]", "image_sizes: [[0.5, 48]]",
    "image_sizes: [[0.0, 32], [0.5, 40], [0.3, 48]]", "ema: 1.0", "dropout: -0.1",
    "label_smoothing: 1.5", "precision: float8", "optimizer: lion", "crop: 50", "fold: 3", "fold: 10",
    "schedule: step", "step_at: [0.5]", "protocol: nine-fold", "balance: some", "patience: -1", "momentum: 1.0",
    "step_factor: 0", "colour: rgb\nequalize: true", "distillation: {teachers: []}",
    "distillation: {teachers: [x], weight: 0}", "data: imagenet", "augmentation: {flip: 2}", "learning_rate: fast",
    "learning_rate: .nan", "learning_rate: 0", "warm_up: 1.5", "mixup: -0.2", "weight_decay: -1",
    "data: folders\nlabels: [a, b]", "data: folders\nprotocol: ten-fold", "labels: [happy, Happy]",
    "data: folders\nlabels: [a, b]\nprotocol: ten-fold-by-subject"])
def test_a_value_out_of_range_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadConfig, match="expected"):
        load_recipe(write(tmp_path, f"network: small-vgg\n{line}\n"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"nowhere\.yaml"):
        load_recipe(str(tmp_path / "nowhere.yaml"))
