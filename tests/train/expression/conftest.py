"""A real run on noise, once for the tests that read one, and beside it the data set that it was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from train.datasets.fer2013 import LABELS
from train.expression.parts import load_faces
from train.expression.run import train_expression
from train.recipe import Recipe

# Faces of 24 pixels of which the network sees 20, as paper C sees 44 of 48
RECIPE = Recipe(name="quick", network="small-vgg", epochs=2, batch_size=16, dropout=0.0, ema=0.5, size=24, crop=20,
                image_sizes=((0.0, 16), (0.5, 20)), test_views="mirror")


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder (read-only) of two epochs on faces whose brightness is their class; `../fer2013.csv` holds them."""
    place = tmp_path_factory.mktemp("trained")
    random, rows = np.random.default_rng(0), ["emotion,pixels,Usage"]
    for usage, count in (("Training", 63), ("PublicTest", 42), ("PrivateTest", 42)):
        for number in range(count):
            label = number % len(LABELS)
            face = np.clip(random.normal(30 + 30 * label, 20, 48 * 48), 0, 255).astype(int)
            rows.append(f"{label},{' '.join(map(str, face))},{usage}")
    copies = [row.replace("Training", "PrivateTest") for row in rows[1:4]]  # three faces the run has seen
    (place / "fer2013.csv").write_text("\n".join(rows + copies) + "\n")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other work on this machine, two would wait for each other
    try:
        with pytest.warns(UserWarning, match="not as published"):
            faces = load_faces(RECIPE, place / "fer2013.csv")
        train_expression(RECIPE, faces, place / "run", resume=False)
    finally:
        torch.set_num_threads(threads)
    return place / "run"
