"""Pictures of the benchmark: times by size, and libraries' outputs side by side with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from specgraph.bench.peers_own import OWN
from specgraph.bench.tables import CLOCKS, where
from specgraph.files import whole

if TYPE_CHECKING:
    from specgraph.bench.accuracy import Drawn

FLOOR = -100.0  # dB below the peak, of the features
MOST = 8  # libraries side by side


def speed(cells: Sequence[dict[str, Any]], path: Path) -> None:
    """Microseconds a frame by size, a panel for every subject, mode and batch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys((cell["subject"], where(cell)) for cell in cells))
    batches = list(dict.fromkeys(cell["batch"] for cell in cells))
    names = list(dict.fromkeys(row["name"] for cell in cells for row in cell["rows"]))
    figure = Figure(figsize=(1.5 + 4.0 * len(batches), 0.8 + 2.8 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), len(batches), squeeze=False, sharey="row")
    for i, (subject, mode) in enumerate(rows):
        for j, batch in enumerate(batches):
            axes = panels[i][j]
            chosen = [cell for cell in cells if (cell["subject"], where(cell), cell["batch"]) == (subject, mode, batch)]
            sizes = [cell["size"] for cell in chosen]
            clock = chosen[0]["clock"]
            for k, name in enumerate(names):
                found = [(s, row) for s, cell in enumerate(chosen) for row in cell["rows"] if row["name"] == name]
                times = [row[clock]["us_per_frame"] for _, row in found]
                look = {"color": "black", "linewidth": 2.0} if name == OWN else {"color": f"C{k % 10}", "linewidth": 1.0}
                axes.plot([s for s, _ in found], times, marker="o", markersize=4, label=name, **look)
            axes.set_yscale("log")
            axes.set_xticks(range(len(sizes)), sizes, fontsize=8)
            axes.set_title(f"{subject}, {mode}, batch {batch}", fontsize=9, loc="left")
            axes.grid(axis="y", which="both", alpha=0.2)
            if j == 0:
                axes.set_ylabel(f"{CLOCKS[clock]} (us a frame)", fontsize=8)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=120)


def side_by_side(drawn: Drawn, path: Path) -> None:
    """Above, each library's output in decibels below the definition's peak; below, its error as a fraction of that peak."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    others = [name for name in drawn.features if not name.startswith(f"{OWN} ")]  # of specgraph, what is chosen
    shown = others[:MOST]
    figure = Figure(figsize=(1.0 + 2.2 * (len(shown) + 1), 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(shown) + 1, squeeze=False, sharex=True, sharey=True)
    peak = float(_size(drawn.definition).max())
    factor = 10.0 if drawn.subject == "mel" else 20.0
    bins, frames = drawn.definition.shape[:2]
    extent = (0.0, frames * drawn.step, -0.5, bins - 0.5)

    def draw(axes: Any, values: Any, limits: tuple[float, float], colours: str, factor: float = factor) -> Any:
        level = factor * np.log10(np.maximum(_size(values) / peak, 1e-30))
        return axes.imshow(
            level, aspect="auto", origin="lower", extent=extent, vmin=limits[0], vmax=limits[1], cmap=colours, interpolation="nearest"
        )

    image = draw(panels[0][0], drawn.definition, (FLOOR, 0.0), "magma")
    panels[0][0].set_title("float64 definition", fontsize=8)
    panels[1][0].set_axis_off()
    for column, name in enumerate(shown, 1):
        got, own = drawn.features[name]
        draw(panels[0][column], got, (FLOOR, 0.0), "magma")
        fault = draw(panels[1][column], got - own, drawn.faults, "viridis", factor=1.0)
        panels[0][column].set_title(name, fontsize=8)
        panels[1][column].set_xlabel("time (s)", fontsize=8)
    for row in panels:
        row[0].set_ylabel(_frequencies(row[0], drawn, bins), fontsize=8)
    panels[1][1].set_ylabel("difference", fontsize=8)
    figure.colorbar(image, ax=list(panels[0]), label="dB below peak")
    figure.colorbar(fault, ax=list(panels[1]), label="log10 of error / peak")
    figure.suptitle(f"{drawn.subject} of a {drawn.signal}", fontsize=10)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=72)


def _frequencies(axes: Any, drawn: Drawn, bins: int) -> str:
    if drawn.frequencies is None:
        return "bin"
    places = np.linspace(0, bins - 1, 6).astype(int)
    axes.set_yticks(places, [f"{drawn.frequencies[place]:.0f}" for place in places], fontsize=7)
    return "frequency (Hz)"


def _size(values: Any) -> Any:
    return np.hypot(values[..., 0], values[..., 1]) if values.ndim == 3 else np.abs(values)
