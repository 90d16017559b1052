"""Training curves: loss, accuracies and learning rate over the epochs, with the changes of size marked."""

from __future__ import annotations

from matplotlib.figure import Figure

from train.expression.pictures.style import BLUE, GREEN, INK, ORANGE, QUIET, look, percent_axis
from train.expression.run_history import RunHistory


def draw_training_curves(run: RunHistory) -> Figure:
    """Draw a run of one epoch or more; the kept epoch carries a mark and its held-out accuracy."""
    numbers = [epoch.number for epoch in run.epochs]
    with look():
        figure = Figure(figsize=(7.2, 6.4))
        loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=(2, 3, 1))
        dot = "o" if len(numbers) == 1 else None
        loss.plot(numbers, [epoch.loss for epoch in run.epochs], color=ORANGE, marker=dot)
        loss.set_ylabel("training loss")
        loss.margins(y=0.16)
        loss.set_title(f"{run.name}: {len(numbers)} of {run.recipe.epochs} epochs")

        known = [epoch for epoch in run.epochs if epoch.accuracy is not None]
        if known:
            accuracy.plot([e.number for e in known], [e.accuracy for e in known], color=ORANGE, marker=dot,
                          label="training, on changed faces")
        accuracy.plot(numbers, [epoch.held_out for epoch in run.epochs], color=BLUE, marker=dot,
                      label=f"held out ({run.held_out_name})")
        kept = run.kept
        accuracy.plot(kept.number, kept.held_out, "o", color=BLUE, markersize=7, markeredgecolor="white")
        accuracy.annotate(f"{100 * kept.held_out:.1f} %", (kept.number, kept.held_out), xytext=(0, 8),
                          textcoords="offset points", ha="center", fontsize=9)
        accuracy.set_ylabel("accuracy")
        accuracy.margins(y=0.12)
        percent_axis(accuracy, "y")
        accuracy.legend(loc="lower right")

        rate.plot(*zip(*run.learning_rates()), color=GREEN)
        rate.set_ylabel("learning rate")
        rate.set_xlabel("epoch")
        rate.set_xlim(0.5, numbers[-1] + 0.5)
        rate.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
        rate.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, accuracy, rate):
            axes.grid(axis="y")
            for first, _ in run.size_changes()[1:]:
                axes.axvline(first - 0.5, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
        for first, size in run.size_changes():
            loss.annotate(f"{size} px", (first - 0.5, 0), xycoords=("data", "axes fraction"), xytext=(4, 3),
                          textcoords="offset points", fontsize=8.5, color=INK)
        figure.align_ylabels()
    return figure
