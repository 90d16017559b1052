"""The accuracies that the five papers print, each with the network, data and protocol it belongs to.

Typed from the papers' tables; nothing here is measured. Paper B's two SFEW figures are the first and the last of its
table.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

from train.expression.views import Views
from train.networks import NETWORKS
from train.recipe import Recipe

SOURCES = {
    "A": "FER based on improved VGG16",
    "B": "FER based on improved VGG CNN, Cui Dong et al., J. Phys. Conf. Ser. 2083, 2021",
    "C": "Improved VGG19",
    "D": "CNNs for FER, Strathclyde",
    "E": "Lightweight VGGNet with attention, ICJE 8(5), 2022",
}


@dataclass(frozen=True)
class PaperFigure:
    """One printed accuracy, percent. `options` are the network's own; `split` is the data set's, or the protocol's."""

    paper: str
    what: str
    accuracy: float
    data: str
    split: str
    network: str
    options: dict[str, Any] = field(default_factory=dict)
    views: Views = "single"
    spread: float | None = None  # standard deviation over folds
    note: str = ""


def _a(what: str, accuracy: float, network: str, options: dict[str, Any]) -> PaperFigure:
    return PaperFigure("A", what, accuracy, "fer2013", "PrivateTest", network, options)


def _b(what: str, accuracy: float, split: str, pooling: str, views: Views = "single", note: str = "") -> PaperFigure:
    data = "raf-db" if split == "test" else "sfew"
    options = {"pooling": pooling, "attention": "none"}
    return PaperFigure("B", what, accuracy, data, split, "lip-vgg16", options, views, note=note)


def _c(accuracy: float, split: str, network: str) -> PaperFigure:
    what = "VGG19" if network == "vgg19" else "improved VGG19"
    return PaperFigure("C", what, accuracy, "fer2013", split, network, views="ten-crop")


def _d(accuracy: float, network: str) -> PaperFigure:
    return PaperFigure("D", network.partition("-")[0], accuracy, "fer2013", "PublicTest", network,
                       note="its validation set, 10 epochs")


def _e(what: str, accuracy: float, attention: str, position: str = "before-pool", data: str = "ck-plus",
       split: str = "random-90-10", spread: float | None = None) -> PaperFigure:
    options = {"attention": attention, "position": position}
    return PaperFigure("E", what, accuracy, data, split, "light-vgg16", options, spread=spread)


def _e_vgg16(accuracy: float, data: str, split: str = "random-90-10", spread: float | None = None) -> PaperFigure:
    return PaperFigure("E", "classic VGG16", accuracy, data, split, "vgg16", spread=spread)


PAPER_FIGURES = (
    _a("classic VGG", 65.58, "vgg16", {}),
    _a("last hidden layer of 1024", 67.34, "improved-vgg16", {"hidden": 1024}),
    _a("last hidden layer of 512", 68.06, "improved-vgg16", {"hidden": 512}),
    _a("last hidden layer of 256", 68.98, "improved-vgg16", {"hidden": 256}),
    _a("no hidden layer", 69.43, "improved-vgg16", {"hidden": 0}),
    _b("VGG16, max pooling", 81.68, "test", "max"),
    _b("local importance pooling", 83.15, "test", "lip"),
    _b("local importance pooling, ten crops", 84.97, "test", "lip", "ten-crop"),
    _b("the same from ImageNet's weights", 86.31, "test", "lip", "ten-crop", "starts from ImageNet"),
    _b("VGG16, max pooling", 50.00, "Val", "max"),
    _b("local importance pooling", 57.34, "Val", "lip", "ten-crop", "starts from RAF-DB"),
    _c(68.821, "PublicTest", "vgg19"),
    _c(70.995, "PrivateTest", "vgg19"),
    _c(70.911, "PublicTest", "improved-vgg19"),
    _c(73.029, "PrivateTest", "improved-vgg19"),
    PaperFigure("C", "improved VGG19", 93.939, "ck-plus", "ten-fold", "improved-vgg19", views="ten-crop",
                note="93 of 99: its best fold, not the mean"),
    _d(58.0, "shallow-cnn"),
    _d(60.0, "improved-cnn"),
    _d(58.0, "deep-cnn"),
    _e("channel + spatial attention before pooling", 98.86, "csa"),
    _e("channel + spatial attention before pooling", 98.76, "csa", split="ten-fold", spread=1.89),
    _e("channel + spatial attention after the convolution", 98.46, "csa", "after-conv"),
    _e("channel + spatial attention after pooling", 97.73, "csa", "after-pool"),
    _e("no attention", 96.81, "none"),
    _e("channel attention", 98.35, "ca"),
    _e("spatial attention", 98.57, "sa"),
    _e("squeeze and excitation", 98.46, "se"),
    _e("CBAM", 98.35, "cbam"),
    _e("scSE", 98.34, "scse"),
    _e("channel + spatial attention after the convolution", 96.89, "csa", "after-conv", data="rafd"),
    _e("channel + spatial attention after pooling", 97.13, "csa", "after-pool", data="rafd"),
    _e("no attention", 95.62, "none", data="rafd"),
    _e("channel attention", 97.26, "ca", data="rafd"),
    _e("spatial attention", 96.89, "sa", data="rafd"),
    _e("squeeze and excitation", 97.01, "se", data="rafd"),
    _e("CBAM", 97.43, "cbam", data="rafd"),
    _e("scSE", 97.13, "scse", data="rafd"),
    _e("channel + spatial attention before pooling", 97.48, "csa", data="rafd"),
    _e("channel + spatial attention before pooling", 97.41, "csa", data="rafd", split="ten-fold", spread=1.38),
    _e_vgg16(95.45, "ck-plus"),
    _e_vgg16(94.18, "ck-plus", "ten-fold", 4.92),
    _e_vgg16(93.62, "rafd"),
    _e_vgg16(92.38, "rafd", "ten-fold", 2.47),
)


def paper_figure(recipe: Recipe, split: str, started: bool = False) -> PaperFigure | None:
    """Return the figure that a recipe's network, data and options stand beside on a split or protocol, or None.

    started: the run began from another network's weights; only then does it stand beside a figure that did. Of several
    the last is taken: a paper's table ends with its whole method.
    """
    wanted = _options(recipe)
    found = [figure for figure in PAPER_FIGURES
             if (figure.network, figure.data, figure.split) == (recipe.network, recipe.data, split)
             and all(wanted.get(key) == value for key, value in figure.options.items())
             and ("starts from" not in figure.note or started)]
    return found[-1] if found else None


def _options(recipe: Recipe) -> dict[str, Any]:
    """Return the network's options with its defaults filled in; "eca" is paper E's channel attention."""
    given = inspect.signature(NETWORKS[recipe.network].make).parameters.values()
    options = {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY} | dict(recipe.network_options)
    return {key: "ca" if value == "eca" and recipe.network == "light-vgg16" else value
            for key, value in options.items()}
