"""Loss curves of a run as a picture."""

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ligandsmith.files import atomic_write
from ligandsmith.training.losses import LEVEL


def plot_losses(history: list[dict[str, Any]], path: Path) -> None:
    """Train and test loss (one scale) above, the terms of the test loss below, against the epoch."""
    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    epochs = [row["epoch"] for row in history]
    above.plot(epochs, [row["train_loss"] for row in history], marker="o", markersize=3, label="train")
    above.plot(epochs, [row["test_loss"] for row in history], marker="s", markersize=3, label="test (validation split)")
    above.set_ylabel("loss")
    above.legend()
    for name in history[-1]["test_terms"]:
        if not name.endswith("total") and LEVEL not in name:
            below.plot(epochs, [row["test_terms"].get(name) for row in history], marker=".", label=name)
    below.set_yscale("log")
    below.set_ylabel("terms of the test loss, unweighted")
    below.set_xlabel("epoch")
    if below.lines:
        below.legend(fontsize="small", ncols=2)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=110, format="png")
