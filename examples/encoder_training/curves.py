"""The log of a run as curves."""

from __future__ import annotations

from pathlib import Path

from pti_hub.storage import read_rows


def curves(run: Path) -> None:
    """Plot the log, if matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    rows = read_rows(run / "log.jsonl")
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names in ((left, ("train_w", "w", "w_degraded")), (right, ("lpips",))):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            axes.plot(*zip(*points, strict=True), label=name)
        axes.set_xlabel("step")
        axes.legend()
    left.set_ylabel("‖ŵ − w‖² / W's variance")
    right.axhline(rows[0]["lpips_mean_latent"], color="gray", linestyle=":", label="mean latent")
    right.set_ylabel("LPIPS of held-out samples")
    right.legend()
    figure.savefig(run / "curves.png", dpi=110)
