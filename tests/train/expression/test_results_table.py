"""Runs side by side: folds gathered, each recipe beside its paper's figure, what is not known left open."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from made_up_runs import folds, recipe_of, report_of, run_of

from runtime.errors import BadInput
from train.expression.paper_figures import PAPER_FIGURES, SOURCES, paper_figure
from train.expression.results_table import as_bars, as_markdown, gather
from train.expression.run_history import RunHistory
from train.networks import NETWORKS
from train.recipe import Recipe, load_recipe


def test_a_run_is_a_row_with_every_figure() -> None:
    (row,) = gather([(run_of(recipe_of("improved-vgg16")), report_of(PublicTest=0.65, PrivateTest=0.67))])
    assert (row.chosen_accuracy, row.accuracy, row.averaged, row.without_copies) == pytest.approx(
        (0.65, 0.67, 0.68, 0.65))
    assert (row.epochs_trained, row.epochs_planned, row.minutes, row.parameters) == (2, 4, 3.0, 1234567)
    assert row.paper is not None and row.paper.accuracy == 69.43 and row.spread is None and row.best_fold is None
    assert row.interval_95[0] < 0.67 < row.interval_95[1]


def test_the_table_says_how_many_epochs_there_really_were() -> None:
    rows = gather([(run_of(recipe_of("improved-vgg16")), report_of(PublicTest=0.65, PrivateTest=0.67))])
    assert as_markdown(rows).splitlines() == [
        "### fer2013", "",
        "| recipe | network | parameters | epochs | minutes | PublicTest | PrivateTest | with views | without copies | "
        "the paper's |", "|---|---|---|---|---|---|---|---|---|---|",
        "| mine | improved-vgg16 | 1,234,567 | 2 of 4 | 3 | 65.0 | 67.0 | 68.0 (mirror) | 65.0 | 69.43 (A) |"]


def test_folds_of_one_recipe_are_one_row_with_mean_spread_and_best() -> None:
    (row,) = gather(folds([0.9, 0.96, 0.93], protocol="ten-fold"))
    assert (row.accuracy, row.spread, row.best_fold, row.images) == pytest.approx((0.93, 0.03, 0.96, 300))
    assert row.paper is not None and (row.paper.accuracy, row.paper.spread) == (98.76, 1.89)
    text = as_markdown([row])
    assert "mine, ten-fold (3 of 10)" in text and "93.0 ± 3.00, best fold 96.0" in text and "98.76 ± 1.89 (E)" in text


def test_the_interval_of_folds_is_that_of_their_mean() -> None:
    (three,) = gather(folds([0.9, 0.96, 0.93], protocol="ten-fold"))
    assert three.interval_95 == pytest.approx((0.8555, 1.0), abs=1e-4)  # 0.93 ± 4.303 · 0.03 / √3, at most 1
    (alike,) = gather(folds([0.9] * 10, protocol="ten-fold"))
    assert alike.interval_95 == pytest.approx((0.9, 0.9))
    (single,) = gather(folds([0.9], protocol="ten-fold"))
    assert single.interval_95[0] < 0.85 < 0.93 < single.interval_95[1]  # nothing but its images to go by


def test_folds_by_person_stand_beside_those_by_frame() -> None:
    rows = gather(folds([0.9, 0.96], protocol="ten-fold") + folds([0.8, 0.9], protocol="ten-fold-by-subject"))
    assert [row.accuracy for row in rows] == pytest.approx([0.93, 0.85])
    assert rows[1].name() == "mine, ten-fold-by-subject (2 of 10)" and rows[1].paper == rows[0].paper


def test_a_run_whose_reported_split_was_not_measured_is_refused() -> None:
    with pytest.raises(BadInput, match="figures of mine on PrivateTest, found PublicTest"):
        gather([(run_of(recipe_of("small-vgg")), report_of(PublicTest=0.65))])


def test_a_paper_that_reports_another_split_is_no_tick_beside_ours() -> None:
    found = gather([(run_of(recipe_of("deep-cnn")), report_of(PublicTest=0.55, PrivateTest=0.56)),
                    (run_of(recipe_of("vgg16"), name="b"), report_of(PublicTest=0.6, PrivateTest=0.61))])
    assert [bar.paper for bar in as_bars(found, "fer2013")] == [None, pytest.approx(0.6558)]
    assert "58.00 (D, PublicTest, its validation set, 10 epochs)" in as_markdown(found)


def of_paper_a(changes: list[str], started: str | None = None) -> tuple[RunHistory, dict[str, Any]]:
    run = run_of(load_recipe("paper-a", ["learning_rate=5e-4", *changes], epochs=2), name=str(changes))
    facts = run.facts | ({"started_from": {"sha256": started}} if started else {})
    return dataclasses.replace(run, facts=facts), report_of(PublicTest=0.55, PrivateTest=0.56)


def test_a_row_is_named_for_what_only_it_has_otherwise_than_the_shipped_recipe() -> None:
    found = gather([of_paper_a([], "ab" * 32), of_paper_a(["network_options.hidden=256"], "ab" * 32),
                    of_paper_a(["augmentation.vertical_flip=0.5"], "ab" * 32)])
    names = [line.split(" |")[0].strip("| ") for line in as_markdown(found).splitlines()[4:7]]
    assert names == ["paper-a", "paper-a, hidden=256", "paper-a, vertical_flip=0.5"]
    assert [bar.name for bar in as_bars(found, "fer2013")] == names
    assert as_markdown(found).splitlines()[8] == "paper-a here: learning_rate=0.0005, from the weights abababab…."
    assert [row.paper.accuracy for row in found if row.paper] == [69.43, 68.98, 69.43]


def test_the_rows_of_an_ablation_are_named_for_the_one_thing_they_change() -> None:
    changes: list[list[str]] = [["ema=0.99"], ["ema=0.99", "label_smoothing=0"], ["ema=0.99", "mixup=0.2"], []]
    found = gather([(run_of(load_recipe("small-vgg", changed, epochs=2), name=str(changed)),
                     report_of(PublicTest=0.55, PrivateTest=0.56)) for changed in changes])
    assert [bar.name for bar in as_bars(found, "fer2013")] == [
        "small-vgg", "small-vgg, label_smoothing=0.0", "small-vgg, mixup=0.2", "small-vgg, ema=0.998"]
    assert as_markdown(found).splitlines()[9] == "small-vgg here: ema=0.99."


def test_a_row_without_the_option_that_most_rows_have_says_so() -> None:
    attention: list[list[str]] = [[], ["network_options.attention=none"], ["network_options.attention=none", "ema=0.9"]]
    found = gather([(run_of(load_recipe("light-vgg16", changed, epochs=2), name=str(changed)),
                     report_of(PublicTest=0.55, PrivateTest=0.56)) for changed in attention])
    assert [bar.name for bar in as_bars(found, "fer2013")] == [
        "light-vgg16, attention=the network's own", "light-vgg16", "light-vgg16, ema=0.9"]


def test_a_shipped_recipe_unchanged_has_no_note() -> None:
    (row,) = gather([(run_of(load_recipe("paper-a")), report_of(PublicTest=0.55, PrivateTest=0.56))])
    assert row.changes == () and " here: " not in as_markdown([row])


def test_no_paper_has_a_network_of_our_own() -> None:
    (row,) = gather([(run_of(recipe_of("small-vgg")), report_of(PublicTest=0.65, PrivateTest=0.67))])
    assert row.paper is None and as_markdown([row]).splitlines()[4].endswith("| – |")


# the papers' figures

@pytest.mark.parametrize(("recipe", "split", "accuracy"), [
    (recipe_of("improved-vgg16", network_options={"hidden": 256}), "PrivateTest", 68.98),
    (recipe_of("improved-vgg16"), "PrivateTest", 69.43),  # hidden: 0 is the network's own
    (recipe_of("improved-vgg19", crop=44), "PublicTest", 70.911),
    (recipe_of("improved-vgg19", crop=44), "PrivateTest", 73.029),
    (recipe_of("light-vgg16", "ck-plus", network_options={"position": "after-pool"}), "random-90-10", 97.73),
    (recipe_of("light-vgg16", "ck-plus", network_options={"attention": "eca"}), "random-90-10", 98.35),
    (recipe_of("light-vgg16", "rafd", network_options={"attention": "eca"}), "random-90-10", 97.26),
    (recipe_of("light-vgg16", "rafd"), "ten-fold", 97.41),
    (recipe_of("vgg16", "ck-plus"), "ten-fold", 94.18),
    (recipe_of("lip-vgg16", "raf-db", colour="rgb"), "test", 84.97),
    (recipe_of("lip-vgg16", "raf-db", colour="rgb", network_options={"pooling": "max"}), "test", 81.68),
])
def test_a_recipe_finds_its_papers_figure(recipe: Recipe, split: str, accuracy: float) -> None:
    found = paper_figure(recipe, split)
    assert found is not None and found.accuracy == accuracy


def test_imagenets_start_is_another_figure() -> None:
    found = paper_figure(recipe_of("lip-vgg16", "raf-db", colour="rgb"), "test", started=True)
    assert found is not None and found.accuracy == 86.31


@pytest.mark.parametrize("figure", PAPER_FIGURES, ids=lambda figure: f"{figure.paper}-{figure.accuracy}")
def test_every_figure_names_a_network_and_options_that_exist(figure: Any) -> None:
    assert figure.paper in SOURCES and 0 < figure.accuracy < 100
    NETWORKS[figure.network].make(7, **figure.options)


def test_runs_whose_folders_have_one_name_are_two_rows() -> None:
    runs = [(run_of(recipe_of("small-vgg"), name="run"), report_of(PublicTest=0.6, PrivateTest=accuracy))
            for accuracy in (0.5, 0.7)]
    rows = gather(runs)
    assert [(row.accuracy, row.images, row.minutes) for row in rows] == [(0.5, 100, 3.0), (0.7, 100, 3.0)]


def test_folds_from_other_weights_are_another_row_and_a_fold_counts_once() -> None:
    own = folds([0.9, 0.96], protocol="ten-fold")
    started = [(dataclasses.replace(run, facts=run.facts | {"started_from": {"sha256": "ab"}}), report)
               for run, report in own]
    assert [row.started_from for row in gather(own + started)] == [None, "ab"]
    with pytest.raises(BadInput, match="each fold of mine once, found two of fold 0"):
        gather(own + own)


def test_a_recipe_without_its_teachers_is_named_for_it() -> None:
    alone = load_recipe("mien-light-again", ["distillation=null"])
    (row,) = gather([(run_of(alone), report_of(PublicTest=0.55, PrivateTest=0.56))])
    assert row.changes == ("teachers=None",)
