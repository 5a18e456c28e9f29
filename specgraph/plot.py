"""Pictures of features, with time in seconds and frequency in hertz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.files import whole
from specgraph.metadata import OutputMetadata

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANGE = 80.0  # dB shown below the maximum of features that are not logarithmic themselves
LOGARITHMIC = ("dB", "ln", "log10")
ROUND = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


@dataclass(frozen=True)
class Panel:
    """One picture: features without their batch axis, what they are, and a title."""

    features: npt.NDArray[Any]
    about: OutputMetadata
    sample_rate: int
    title: str


def save(panels: Sequence[Panel], path: str | Path, dpi: int = 150) -> None:
    """Draw panels under one another into a picture (png, pdf, svg, ...: by the file's suffix), whole or not at all.

    Features may be (bins, frames), (bins, frames, 2) or (samples,). Magnitude and power are drawn in decibels below their
    maximum, logarithmic features and angles as they are.

    Raises:
        ValueError: the suffix is not a picture's, or there is nothing to draw.
        OSError: the file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ValueError(f"{path} does not end in a picture's suffix; name it .png, .pdf or .svg")
    if not panels:
        raise ValueError("there is nothing to draw")
    style: Any = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.0, 0.6 + 2.4 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axes, panel in zip(rows, panels, strict=True):
            _draw(axes, panel)
        rows[-1].set_xlabel("time (s)")
        with whole(path) as temporary:
            figure.savefig(temporary, dpi=dpi)


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title)
    features, about = np.asarray(panel.features, np.float64), panel.about
    if features.ndim == 3 and features.shape[-1] == 2:
        features = np.hypot(features[..., 0], features[..., 1])
    if features.ndim == 1:
        axes.plot((np.arange(len(features)) * about.hop + about.centre) / panel.sample_rate, features, linewidth=0.6)
        axes.set_ylabel(about.quantity or "value")
        return
    if features.ndim != 2:
        raise ValueError(f"features of shape {features.shape} cannot be drawn; they must be (bins, frames)")
    shown, label, colours = _levels(features, about)
    step = about.hop / panel.sample_rate
    start = about.centre / panel.sample_rate - step / 2
    extent = (start, start + step * features.shape[1], -0.5, features.shape[0] - 0.5)
    image = axes.imshow(
        shown, aspect="auto", origin="lower", extent=extent, cmap=colours, interpolation="nearest", rasterized=True
    )
    axes.set_xlim(left=max(start, 0.0))
    _frequency_axis(axes, about, features.shape[0])
    axes.figure.colorbar(image, ax=axes, label=label, pad=0.01, aspect=18)


def _levels(features: npt.NDArray[np.float64], about: OutputMetadata) -> tuple[npt.NDArray[np.float64], str, str]:
    """What is drawn, what it is called, and its colours."""
    if about.unit == "rad":
        return features, "phase (rad)", "twilight"
    if about.unit in LOGARITHMIC or about.frequencies is None or (features < 0).any():
        label = about.quantity + (f" ({about.unit})" if about.unit else "")
        return features, label, "magma"
    peak = features.max(initial=0.0) or 1.0
    factor = 10 if "power" in about.quantity else 20
    level = factor * np.log10(np.maximum(features / peak, 10 ** (-RANGE / factor)))
    return level, f"{about.quantity} (dB below peak)", "magma"


def _frequency_axis(axes: Axes, about: OutputMetadata, bins: int) -> None:
    if about.frequencies is None:
        axes.set_ylabel("coefficient" if about.quantity == "MFCC" else "bin")
        return
    frequencies = np.array(about.frequencies)
    even = len(frequencies) > 2 and np.allclose(np.diff(frequencies), frequencies[1] - frequencies[0])
    if even:
        step = next(s for s in (*ROUND[2:], 50000) if frequencies[-1] / s <= 6)
        wanted = np.arange(0, frequencies[-1] + 1, step)
    else:
        wanted = np.array([f for f in ROUND if frequencies[0] <= f <= frequencies[-1]])
        places = np.interp(wanted, frequencies, np.arange(bins))
        apart = [True, *(np.diff(places) > bins / 14)]
        wanted = wanted[np.array(apart[: len(wanted)], bool)]
    axes.set_yticks(np.interp(wanted, frequencies, np.arange(bins)), [_hertz(f) for f in wanted])
    axes.set_ylabel("frequency (Hz)")


def _hertz(frequency: float) -> str:
    return f"{frequency / 1000:g}k" if frequency >= 1000 else f"{frequency:g}"
