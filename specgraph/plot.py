"""Pictures: of features, with time in seconds and frequency in hertz, and of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.files import check_writable, whole
from specgraph.metadata import OutputMetadata
from specgraph.outside_text import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 80.0  # dB shown below the maximum of features that are not logarithmic themselves
LOGARITHMIC = ("dB", "ln", "log10")
CEPSTRA = ("MFCC", "LFCC")
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
    check_picture(path)
    if not panels:
        raise ValueError("there is nothing to draw")
    style: Any = {"font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False, "text.usetex": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(8.0, 0.6 + 2.4 * len(panels)), layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(panels), 2, squeeze=False, width_ratios=(1, 0.018))
        for (axes, bar), panel in zip(rows, panels, strict=True):
            _draw(axes, bar, panel)
        rows[-1][0].set_xlabel("time (s)")
        with whole(path) as temporary:
            figure.savefig(temporary, dpi=dpi)


def kernels(before: Any, after: Any = None, path: str | Path | None = None, dpi: int = 150) -> Figure:
    """Draw what a front end holds, or two of them over one another: as it was designed, and as it was learned.

    Drawn are the trainable parts, or where none is marked all constants: kernels that are slid over the waveform as real parts over
    time and as responses over frequency, and all of a part's responses as an image; banks as a curve for each filter over
    frequency; other arrays over their last index.

    Args:
        before: a file that specgraph wrote, or a module, graph or transform.
        after: another of these with the same parts, such as the same module after training; None draws ``before`` alone.
        path: the picture to write, by its suffix png, pdf or svg; None writes none.
        dpi: dots an inch of what is written.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: there is nothing to draw, parts or their shapes differ, or ``path`` has another suffix.
        OSError: a file cannot be read or written.
    """
    from specgraph.plot_kernels import figure, pairs, parts

    if path is not None:
        check_picture(Path(path))
    first, second = (str(source) if isinstance(source, str | Path) else word for source, word in ((before, "before"), (after, "after")))
    made = figure([(part, None) for part in parts(before, first).values()] if after is None else [*pairs(before, after, (first, second))])
    if path is not None:
        with whole(path) as temporary:
            made.savefig(temporary, dpi=dpi)
    return made


def check_picture(path: Path) -> None:
    """Raise ``ValueError`` or ``OSError``, in a sentence, where a picture cannot be drawn to ``path``: before any work for it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if path.suffix[1:].lower() not in FigureCanvasAgg.get_supported_filetypes():
        raise ValueError(f"{path} does not end in a picture's suffix; name it .png, .pdf or .svg")
    check_writable(path)


def _draw(axes: Axes, bar: Axes, panel: Panel) -> None:
    axes.set_title(title(panel.title))
    features, about = np.asarray(panel.features, np.float64), panel.about
    if not about.hop:
        raise ValueError(f"{panel.title} ({', '.join(about.axes)}) has no frames whose times are known, and cannot be drawn")
    if about.axes[1:] == ("frames", "bins"):  # a model's own layout
        features = features.T
    stacked = "harmonics", "bins", "frames"
    if sorted(about.axes[1:]) == sorted(stacked):  # one below another, the first at the bottom
        features = features.transpose([about.axes.index(axis) - 1 for axis in stacked])
        features = features.reshape(-1, features.shape[-1])
    if features.ndim == 3 and features.shape[-1] == 2:
        features = np.hypot(features[..., 0], features[..., 1])
    if features.ndim == 1:
        axes.plot((np.arange(len(features)) * about.hop + about.centre) / panel.sample_rate, features, linewidth=0.6)
        axes.set_ylabel(title(about.quantity or "value"))
        axes.margins(x=0)
        bar.set_axis_off()
        return
    if features.ndim != 2:
        raise ValueError(f"features of shape {features.shape} cannot be drawn; they must be (bins, frames)")
    step = about.hop / panel.sample_rate
    start = about.centre / panel.sample_rate - step / 2
    extent = (start, start + step * features.shape[1], -0.5, features.shape[0] - 0.5)
    shown, label, look = _levels(features, about)
    image = axes.imshow(
        shown, aspect="auto", origin="lower", extent=extent, interpolation="nearest", rasterized=True, **look
    )
    axes.set_xlim(left=max(start, 0.0))
    _frequency_axis(axes, about, features.shape[0])
    axes.figure.colorbar(image, cax=bar, label=label)


def _levels(
    features: npt.NDArray[np.float64], about: OutputMetadata
) -> tuple[npt.NDArray[np.float64], str, dict[str, Any]]:
    """What is drawn, what it is called, and its colours and their limits."""
    if about.unit == "rad":
        return features, "phase (rad)", {"cmap": "twilight", "vmin": -np.pi, "vmax": np.pi}
    label = title(about.quantity + (f" ({about.unit})" if about.unit else ""))
    if about.quantity in CEPSTRA:  # of either sign; the first two, level and tilt, would leave no colour for the others
        limit = float(np.abs(features[2:] if len(features) > 2 else features).max(initial=0.0)) or 1.0
        return features, label, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    if about.unit in LOGARITHMIC or about.frequencies is None or (features < 0).any():
        return features, label, {"cmap": "magma"}
    peak = features.max(initial=0.0) or 1.0
    factor = 10 if "power" in about.quantity else 20
    level = factor * np.log10(np.maximum(features / peak, 10 ** (-RANGE / factor)))
    quantity = "magnitude" if about.quantity == "complex" else about.quantity
    return level, f"{title(quantity)} (dB below peak)", {"cmap": "magma"}


def _frequency_axis(axes: Axes, about: OutputMetadata, bins: int) -> None:
    from matplotlib.ticker import MaxNLocator

    if about.frequencies is None or len(about.frequencies) != bins:  # several harmonics, of which those are the first's
        axes.set_ylabel("coefficient" if about.quantity in CEPSTRA else "bin")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        return
    frequencies = np.array(about.frequencies)
    low, high = frequencies[0], frequencies[-1]
    if len(frequencies) > 2 and np.allclose(np.diff(frequencies), frequencies[1] - low):
        wanted = [f for f in MaxNLocator(6, steps=(1, 2, 5, 10)).tick_values(low, high) if low <= f <= high]
    else:
        wanted = []
        for frequency in (f for f in ROUND if low <= f <= high):  # round ones that are not too close to the last
            place, last = np.interp([frequency, wanted[-1] if wanted else -np.inf], frequencies, np.arange(bins))
            if not wanted or place - last > bins / 14:
                wanted.append(frequency)
    axes.set_yticks(np.interp(wanted, frequencies, np.arange(bins)), [_hertz(f) for f in wanted])
    axes.set_ylabel("frequency (Hz)")


def _hertz(frequency: float) -> str:
    return f"{frequency / 1000:g}k" if frequency >= 1000 else f"{frequency:g}"
