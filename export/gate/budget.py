"""What a compiled form may cost: from the card, from `check.yaml`, from flags; the later word counts.

Knows no figure and no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.card import ModelCard
from runtime.config import build, read_yaml
from runtime.errors import BadConfig

FEWEST_OF_A_CLASS = 300  # images; FER2013's *disgust* has 39 in PrivateTest, and an interval of ±6 points


@dataclass(frozen=True)
class Budget:
    """The most that may be lost, each a line of `check.yaml`.

    accuracy_drop and recall_drop: points of 100, above 0; agreement: share of labels that stay, 1 where none of these
    images' may change; kl: mean KL from the reference, nats; ece_shift: change of the expected calibration error either
    way, a share; classes: gate these also where they have fewer than 300 images.
    """

    accuracy_drop: float = 1.0
    agreement: float = 0.95
    recall_drop: float = 3.0
    kl: float = 0.05
    ece_shift: float = 0.02
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("accuracy_drop", "recall_drop"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"expected {name} of 0–100 points, found {getattr(self, name):g}")
            if getattr(self, name) == 0:
                raise ValueError(f"expected {name} above 0 points, found 0, which no number of images proves; give "
                                 "what may be lost, as 0.1, or agreement 1, with which no label may change")
        for name in ("agreement", "ece_shift"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} of 0–1, found {getattr(self, name):g}")
        if not self.kl >= 0:
            raise ValueError(f"expected kl of at least 0 nats, found {self.kl:g}")


def read_budget(card: ModelCard, file: Path | None, flags: dict[str, Any]) -> Budget:
    """Return the card's budget (`metrics.budget`), changed by a `check.yaml` and then by flags that are not None.

    Raises BadConfig for an unknown key, a value out of range, or a class that the model does not know.
    """
    stated = card.metrics.get("budget", {})
    if not isinstance(stated, dict):
        raise BadConfig(f"expected keys under metrics.budget in {card.name}'s card.json, found {stated!r}; correct it")
    values = dict(stated)
    values |= read_yaml(file) if file else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    source = str(file) if file else "the budget"
    budget = build(Budget, values, source)
    unknown = [name for name in budget.classes if name not in card.labels]
    if unknown:
        raise BadConfig(f"expected classes among {', '.join(card.labels)} in {source}, found {', '.join(unknown)}")
    return budget
