"""Every network by the name a recipe gives it. Knows nothing of data or training.

A network's own options are its constructor's keyword-only arguments; their types are the check.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import nn

from runtime.config import build
from runtime.errors import BadInput
from train.networks.improved_vgg16 import ImprovedVGG16
from train.networks.improved_vgg19 import ImprovedVGG19
from train.networks.keras_cnns import DeepCNN, ImprovedCNN, ShallowCNN
from train.networks.light_vgg16 import LightVGG16
from train.networks.lip_vgg16 import LIPVGG16
from train.networks.parameter_counts import count_as_keras, count_parameters
from train.networks.small_vgg import SmallVGG
from train.networks.vgg_classic import VGG16, VGG19

__all__ = ["NETWORKS", "Entry", "build_network", "count_as_keras", "count_parameters", "require_sides"]


@dataclass(frozen=True)
class Entry:
    """One network of the zoo: its constructor and the smallest side of a face it takes, pixels."""

    make: Callable[..., nn.Module]
    smallest: int


NETWORKS = {
    "small-vgg": Entry(SmallVGG, 16),
    "light-vgg16": Entry(LightVGG16, 32),
    "vgg16": Entry(VGG16, 32),
    "vgg19": Entry(VGG19, 32),
    "improved-vgg16": Entry(ImprovedVGG16, 32),
    "lip-vgg16": Entry(LIPVGG16, 32),
    "improved-vgg19": Entry(ImprovedVGG19, 32),
    "shallow-cnn": Entry(ShallowCNN, 24),
    "improved-cnn": Entry(ImprovedCNN, 24),
    "deep-cnn": Entry(DeepCNN, 16),
}


def build_network(
    name: str, classes: int, dropout: float | None = None, channels: int = 1, size: int = 48, **options: Any
) -> nn.Module:
    """Return the named network, freshly initialized.

    dropout: None is the network's own. channels: 1 grey, 3 RGB. size: the faces' side in pixels; only networks that
    flatten their features depend on it. options: the network's own (`attention`, `hidden`, …). Raises BadInput for an
    unknown name or option, or a value out of range, with the nearest one that is known.
    """
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known: {', '.join(NETWORKS)}"
        raise BadInput(f"expected a known network, found {name!r}; {advice}")
    entry = NETWORKS[name]
    if classes < 2 or channels not in (1, 3):
        raise BadInput(f"expected 2 or more classes and 1 or 3 channels, found {classes} and {channels}")
    if size < entry.smallest:
        raise BadInput(f"expected faces of {entry.smallest} pixels or more for {name}, found {size}; make them larger")
    if dropout is not None and not 0 <= dropout < 1:
        raise BadInput(f"expected a dropout of 0 up to 1, found {dropout}")
    arguments = _checked_options(name, entry.make, options)
    if dropout is not None:
        arguments["dropout"] = dropout
    if "size" in inspect.signature(entry.make).parameters:
        arguments["size"] = size
    return entry.make(classes, channels=channels, **arguments)


def require_sides(name: str, size: int, sides: Collection[int]) -> None:
    """Refuse faces of `sides` pixels for a network made for `size`.

    Raises BadInput where one is too small, or another than `size` for a network that flattens its features.
    """
    entry = NETWORKS[name]
    fixed = "size" in inspect.signature(entry.make).parameters
    for side in sorted(sides):
        if fixed and side != size:
            raise BadInput(f"expected faces of {size} pixels throughout for {name}, found {side}; its dense layers "
                           "depend on the size: leave image_sizes away, or choose another network")
        if side < entry.smallest:
            raise BadInput(f"expected faces of {entry.smallest} pixels or more for {name}, found {side}; raise the "
                           "smallest of image_sizes")


def _checked_options(name: str, make: Callable[..., nn.Module], options: dict[str, Any]) -> dict[str, Any]:
    """Check options against the keyword-only arguments of a constructor, as a configuration's keys are checked."""
    known = [p for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if options and not known:
        raise BadInput(f"expected no options for {name}, found {', '.join(options)}; leave them out")
    hints = typing.get_type_hints(make.__init__)
    schema = dataclasses.make_dataclass("Options", [(p.name, hints[p.name], p.default) for p in known], frozen=True)
    return dataclasses.asdict(build(schema, options, f"the options of {name}"))
