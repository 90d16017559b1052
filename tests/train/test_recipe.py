"""Recipes: every shipped one is sound, every mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import build
from runtime.errors import BadConfig, BadInput
from train.networks import NETWORKS
from train.recipe import RECIPES, Recipe, load_recipe

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
def test_a_shipped_recipe_ends_at_the_size_of_fer2013s_faces(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.size_at(recipe.epochs - 1) == 48


def test_a_file_gives_its_name_to_the_recipe(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "network: small-vgg\n")).name == "mine"


def test_an_exponent_without_a_point_is_a_number(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, "network: small-vgg\nlearning_rate: 1e-3\n")).learning_rate == 0.001


def test_what_the_command_line_gives_wins_over_the_file() -> None:
    assert load_recipe("small-vgg", epochs=3, seed=None) == load_recipe("small-vgg", epochs=3)
    assert load_recipe("small-vgg", epochs=3).epochs == 3


def test_sizes_grow_at_their_shares_of_the_run() -> None:
    recipe = Recipe(name="x", network="small-vgg", epochs=10)  # 32 from 0, 40 from 0.3, 48 from 0.6
    assert [recipe.size_at(epoch) for epoch in range(10)] == [32, 32, 32, 40, 40, 40, 48, 48, 48, 48]


def test_a_recipe_as_plain_values_makes_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("mien-light")
    assert build(Recipe, recipe.as_dict(), "x") == recipe


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
    "epochs: 0", "batch_size: 1", "image_sizes: []", "image_sizes: [[0.5, 48]]", "ema: 1.0", "dropout: -0.1",
    "label_smoothing: 1.5", "precision: float16", "data: imagenet", "augmentation: {flip: 2}", "learning_rate: fast",
    "learning_rate: .nan", "learning_rate: 0", "warm_up: 1.5", "mixup: -0.2", "weight_decay: -1"])
def test_a_value_out_of_range_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadConfig, match="expected"):
        load_recipe(write(tmp_path, f"network: small-vgg\n{line}\n"))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"nowhere\.yaml"):
        load_recipe(str(tmp_path / "nowhere.yaml"))
