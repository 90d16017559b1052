"""Which faces a network is measured on: its own splits or fold, or another data set's in its own words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runtime.errors import BadInput
from runtime.preprocess import FaceInput
from train.datasets.ck_plus import LABELS as CK_LABELS
from train.datasets.fer2013 import LABELS
from train.datasets.protocols import ten_fold
from train.expression.measured_faces import load_measurement, recipe_of, require_alike
from train.expression.open_network import OpenNetwork

pytestmark = pytest.mark.filterwarnings("ignore:.*not as published")


def network_of(labels: tuple[str, ...] = LABELS, how: FaceInput | None = None, **recipe: object) -> OpenNetwork:
    """A network that is never asked."""
    values = {"name": "n", "network": "small-vgg", **recipe} if recipe else {}
    what = {"name": "n", "network": "small-vgg"}
    return OpenNetwork(lambda faces: faces, how or FaceInput(48, 48), labels, values, None, what)


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two faces of each split."""
    rows = ["emotion,pixels,Usage"]
    for number, usage in enumerate(["Training", "PublicTest", "PrivateTest"] * 2):
        rows.append(f"{number},{' '.join([str(number)] * 2304)},{usage}")
    (tmp_path / "fer2013.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "fer2013.csv"


@pytest.fixture
def ck(tmp_path: Path) -> Path:
    """Four people, each with the last frames of every emotion."""
    for subject in range(4):
        for label, name in enumerate(CK_LABELS):
            (tmp_path / "ck" / name).mkdir(parents=True, exist_ok=True)
            face = np.full((48, 48), 30 * label + subject, np.uint8)
            cv2.imwrite(str(tmp_path / "ck" / name / f"S{subject:03}_001_{label:08}.png"), face)
    return tmp_path / "ck"


def test_fer2013_is_measured_where_choices_are_made_and_where_they_are_reported(csv: Path) -> None:
    found = load_measurement(network_of(), csv)
    assert [(part.name, len(part.faces), len(part.training)) for part in found.sets] == [
        ("PublicTest", 2, 2), ("PrivateTest", 2, 2)]
    assert found.fitted_on == "PublicTest" and found.data == "fer2013" and len(found.sha256) == 64


def test_the_splits_named_are_measured_instead(csv: Path) -> None:
    found = load_measurement(network_of(), csv, splits=["PrivateTest"])
    assert [part.name for part in found.sets] == ["PrivateTest"] and found.fitted_on is None


def test_an_absent_split_is_refused_with_those_that_are_there(csv: Path) -> None:
    with pytest.raises(BadInput, match="the split PrivatTest, found none; there are Training, PublicTest, PrivateTest"):
        load_measurement(network_of(), csv, splits=["PrivatTest"])


def test_an_unknown_data_set_gets_a_suggestion(csv: Path) -> None:
    with pytest.raises(BadInput, match="'raf_db'; did you mean raf-db"):
        load_measurement(network_of(), csv, data="raf_db")


def test_faces_are_read_as_the_network_wants_them_whole(csv: Path) -> None:
    wanted = network_of(how=FaceInput(44, 44, resize=50))
    assert load_measurement(wanted, csv).sets[0].faces.images.shape == (2, 50, 50)
    assert recipe_of(wanted).crop == 44


def test_another_data_set_answers_in_the_networks_words(ck: Path) -> None:
    found = load_measurement(network_of(), ck, data="ck-plus")
    (part,) = found.sets
    assert part.name == "All" and found.left_out == 4  # contempt, which FER2013 does not know
    assert part.faces.label_names == LABELS and not len(part.training)
    said = {name.split("/")[0]: LABELS[label] for name, label in zip(part.faces.names, part.faces.labels)}
    assert said == {"anger": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy", "sadness": "sad",
                    "surprise": "surprise"}


def test_labels_nobody_knows_are_refused(ck: Path) -> None:
    with pytest.raises(BadInput, match="a network of yes, no"):
        load_measurement(network_of(("yes", "no")), ck, data="ck-plus")


def test_a_network_of_a_fold_is_measured_on_its_own_test(ck: Path) -> None:
    found = load_measurement(
        network_of(CK_LABELS, data="ck-plus", protocol="ten-fold", fold=3, seed=5, batch_size=8), ck)
    (part,) = found.sets
    fold = ten_fold(28, 5)[3]
    assert part.name == "ten-fold-3" and (len(part.faces), len(part.training)) == (len(fold.test), len(fold.train))
    assert not set(part.faces.names) & set(part.training.names)


@pytest.mark.parametrize("change", [{"size": 50}, {"colour": "rgb"}, {"data": "raf-db"}, {"face": "haar"}])
def test_networks_that_read_other_faces_are_not_averaged(change: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=f"found {next(iter(change))} "):
        require_alike([network_of(seed=0), network_of(**change)])


def test_networks_of_another_seed_are_averaged_on_a_canonical_split() -> None:
    require_alike([network_of(seed=0), network_of(seed=1)])
    with pytest.raises(BadInput, match="seed 0 and 1"):
        require_alike([network_of(seed=s, data="ck-plus", protocol="random-90-10") for s in (0, 1)])
