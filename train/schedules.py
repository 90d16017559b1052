"""The learning rate at each step of a run, as a share of its peak. Knows no optimizer.

All but one-cycle rise in a straight line over the warm-up (Goyal et al. 2017, https://arxiv.org/abs/1706.02677).
"""

from __future__ import annotations

import math

from train.recipe import Recipe

_START = 0.04  # of one-cycle: the peak over 25 (Smith and Topin 2018, https://arxiv.org/abs/1708.07120)
_END = 0.001  # of the falling schedules


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate of `step` (from 0) of `steps`, above 0 and at most the recipe's."""
    rising = recipe.warm_up * steps
    if step < rising:
        if recipe.schedule == "one-cycle":
            return recipe.learning_rate * (_START + (1 - _START) * 0.5 * (1 - math.cos(math.pi * step / rising)))
        return recipe.learning_rate * (step + 1) / (math.floor(rising) + 1)
    if recipe.schedule in ("one-cycle", "cosine"):
        fallen = (step - rising) / max(1.0, steps - rising)
        return recipe.learning_rate * (_END + (1 - _END) * 0.5 * (1 + math.cos(math.pi * fallen)))
    drops = sum(step >= share * steps for share in recipe.step_at)
    return recipe.learning_rate * recipe.step_factor**drops
