"""Pictures of what a front end holds: its kernels in time and in frequency and its banks, as designed and as learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.graph import Graph
from specgraph.op import Array, Constant, Value
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.stft import Stft
from specgraph.outside_text import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 5  # kernels of a part that are drawn one by one
RANGE = 80.0  # dB below the highest response
POINTS = 2048  # of a response over frequency, or more where kernels are longer
COLUMNS = 500  # of an image of responses


@dataclass(frozen=True)
class Part:
    """A constant of a front end: kernels that are slid over the waveform, a bank over bins, or other numbers.

    ``frequencies`` are those of a bank's columns, in hertz, where they are known.
    """

    name: str
    array: Array
    kind: str  # kernels, bank or numbers
    trainable: bool
    sample_rate: int
    frequencies: Array | None = None

    def responses(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of kernels: frequencies in hertz, and (kernels, frequencies) what each makes of a tone of amplitude 1 there."""
        complex_kernels = self.array[0] + 1j * self.array[1] if self.array.ndim == 3 else self.array
        count = max(2 * POINTS, 2 ** int(np.ceil(np.log2(4 * complex_kernels.shape[-1]))))
        spectra = np.abs(np.fft.fft(complex_kernels, count))[:, : count // 2 + 1] / 2
        return np.arange(count // 2 + 1) * (self.sample_rate / count), spectra


def parts(source: Any, label: str = "it") -> dict[str, Part]:
    """What a graph, transform, module or file holds, by name: the trainable constants, or all where none is marked.

    Raises:
        ValueError: it holds none; ``label`` is how the sentence names it.
    """
    graph = _graph(source)
    found: dict[str, Part] = {}
    for value in graph.values():
        for position, operand in enumerate(value.inputs):
            if isinstance(operand.op, Constant) and not any(part.array is operand.op.array for part in found.values()):
                name, number = operand.op.name, 1
                while name in found:
                    name, number = f"{operand.op.name}_{number}", number + 1
                found[name] = _part(name, operand.op, value if position == 1 else None, graph.sample_rate)
    if not found:
        raise ValueError(f"{label} holds no arrays to draw: mark parts when it is made, by .module(trainable=...)")
    return {name: part for name, part in found.items() if part.trainable} or found


def pairs(before: Any, after: Any, labels: tuple[str, str] = ("before", "after")) -> list[tuple[Part, Part]]:
    """The same parts of two front ends.

    Raises:
        ValueError: their parts, shapes or sample rates differ; the sentence says which, by ``labels``.
    """
    first, second = parts(before, labels[0]), parts(after, labels[1])
    if first.keys() != second.keys():
        held = [f"{label} has {', '.join(found)}" for label, found in zip(labels, (first, second), strict=True)]
        raise ValueError(f"the parts to compare differ: {' and '.join(held)}; make both with the same .module(trainable=...)")
    for name, part in first.items():
        other = second[name]
        if part.array.shape != other.array.shape:
            raise ValueError(
                f"{name} is {part.array.shape} in {labels[0]} and {other.array.shape} in {labels[1]}; draw each by itself"
            )
        if part.sample_rate != other.sample_rate:
            raise ValueError(
                f"{labels[0]} is for {part.sample_rate} Hz and {labels[1]} for {other.sample_rate} Hz; draw each by itself"
            )
    return [(part, second[name]) for name, part in first.items()]


def figure(compared: list[tuple[Part, Part | None]]) -> Figure:
    """A picture with two rows for kernels and one for each other part; the second of a pair is None where there is one only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for before, after in compared for row in _rows(before, after)]
    made = Figure(figsize=(10.0, 0.4 + 2.8 * len(rows)), layout="constrained")
    FigureCanvasAgg(made)
    for cells, draw in zip(made.subplots(len(rows), 2, squeeze=False), rows, strict=True):
        draw(*cells)
    return made


def _graph(source: Any) -> Graph:
    from specgraph.sources import as_graph

    if isinstance(source, str | Path):
        from specgraph.export.read import read_graph

        return read_graph(source)
    graph = as_graph(source)
    if any(isinstance(value.op, Compound) and getattr(value.op, "trainable", False) for value in graph.values()):
        from specgraph.module import GraphModule  # which builds what is trained as the constants that are trained

        return GraphModule(graph).graph
    return graph


def _part(name: str, constant: Constant, reader: Value | None, sample_rate: int) -> Part:
    kind, frequencies = "numbers", None
    if reader is not None and isinstance(reader.op, FrameConv):
        kind = "kernels"
    elif reader is not None and isinstance(reader.op, Filterbank):
        kind, frequencies = "bank", _bins(reader.inputs[0], constant.shape[1], sample_rate)
    return Part(name, constant.array, kind, constant.trainable, sample_rate, frequencies)


def _bins(features: Value, count: int, sample_rate: int) -> Array | None:
    """The frequencies of the bins of a spectrum, where ``features`` are one of a DFT's length."""
    while features.inputs:
        op, width = features.op, 0
        if isinstance(op, Stft):
            width = op.n_fft
        elif isinstance(op, FrameConv) and isinstance(features.inputs[1].op, Constant):
            width = features.inputs[1].op.shape[-1]
        if width:
            return np.arange(count) * (sample_rate / width) if count == width // 2 + 1 else None
        features = features.inputs[0]
    return None


def _rows(before: Part, after: Part | None) -> list[Any]:
    """What draws each row of a part, on its left and right axes."""
    if before.kind == "kernels":
        return [lambda left, right: _kernels(left, right, before, after), lambda left, right: _maps(left, right, before, after)]
    draw = _bank if before.kind == "bank" else _numbers

    def row(left: Axes, right: Axes) -> None:
        for axes, part, when in ((left, before, "before" if after else ""), (right, after, "after")):
            if part is None:
                axes.set_axis_off()
                continue
            draw(axes, part)
            axes.set_title(title(f"{part.name} {when}".strip()), loc="left")
        if after:
            right.sharey(left)
            left.autoscale(axis="y")

    return [row]


def _kernels(left: Axes, right: Axes, before: Part, after: Part | None) -> None:
    """Some kernels over time, one above another, and their responses over frequency."""
    count, width = before.array.shape[-2:]
    drawn = np.unique(np.linspace(0, count - 1, SHOWN + 2).round().astype(int)[1:-1]) if count > SHOWN else np.arange(count)
    milliseconds = np.arange(width) * (1000 / before.sample_rate)
    shown = [(before, "0.7", 2.0, "before"), (after, "C0", 0.8, "after")] if after else [(before, "C0", 0.8, "")]
    real = [part.array[0] if part.array.ndim == 3 else part.array for part, *_ in shown]
    peak = max(float(part.responses()[1].max()) for part, *_ in shown)
    for (part, colour, wide, label), rows in zip(shown, real, strict=True):
        frequencies, responses = part.responses()
        level = _decibels(responses, peak)
        for place, number in enumerate(drawn):
            height = max(float(np.abs(array[number]).max()) for array in real) or 1.0
            (line,) = left.plot(milliseconds, place + 0.45 * rows[number] / height, color=colour, linewidth=wide)
            if place == 0 and after:
                line.set_label(label)
            right.plot(frequencies, level[number], color=colour, linewidth=wide)
    left.set_yticks(range(len(drawn)), [str(number) for number in drawn])
    left.set(xlabel="time (ms)", ylabel="kernel", title=f"{title(before.name)}: kernels{', real part' * (before.array.ndim == 3)}")
    low, high, logarithmic = _range(before)
    right.set(xlabel="frequency (Hz)", ylabel="dB below peak", title="the same kernels' responses", ylim=(-RANGE, 3))
    right.set(xlim=(low, high), xscale="log" if logarithmic else "linear")
    if after:
        left.legend(fontsize=8, loc="upper right")


def _maps(left: Axes, right: Axes, before: Part, after: Part | None) -> None:
    """The responses of all kernels, a row each."""
    low, high, logarithmic = _range(before)
    columns = np.geomspace(low, high, COLUMNS) if logarithmic else np.linspace(low, high, COLUMNS)
    for axes, part, when in ((left, before, " before" if after else ""), (right, after, " after")):
        if part is None:
            axes.set_axis_off()
            continue
        frequencies, responses = part.responses()
        level = _decibels(responses, float(responses.max()))[:, np.searchsorted(frequencies, columns).clip(max=len(frequencies) - 1)]
        image = axes.pcolormesh(
            columns, np.arange(len(level)), level, cmap="magma", vmin=-RANGE, vmax=0, shading="nearest", rasterized=True
        )
        axes.set(xlabel="frequency (Hz)", ylabel="kernel", title=f"{title(part.name)}: responses{when}", xscale="log" if logarithmic else "linear")
        axes.figure.colorbar(image, ax=axes, label="dB below peak", fraction=0.05)


def _decibels(responses: npt.NDArray[np.float64], peak: float) -> npt.NDArray[np.float64]:
    return 20 * np.log10(np.maximum(responses / (peak or 1.0), 10 ** (-RANGE / 20)))


def _range(part: Part) -> tuple[float, float, bool]:
    """From which frequency to which kernels are drawn, and whether on a logarithmic axis: where most of them are low."""
    frequencies, responses = part.responses()
    peaks = frequencies[responses.argmax(1)]
    half = part.sample_rate / 2
    low, high = float(peaks.min()), min(1.5 * float(peaks.max()), half) or half
    if low > 0 and np.median(peaks) < 0.3 * peaks.max():
        return low / 1.5, high, True
    return 0.0, high, False


def _bank(axes: Axes, part: Part) -> None:
    import matplotlib as mpl

    places = np.arange(part.array.shape[1]) if part.frequencies is None else part.frequencies
    for number, (curve, colour) in enumerate(zip(part.array, mpl.colormaps["viridis"](np.linspace(0, 0.9, len(part.array))), strict=True)):
        axes.plot(places, curve, color=colour, linewidth=0.8, zorder=-number)
    axes.set(xlabel="bin" if part.frequencies is None else "frequency (Hz)", ylabel="weight")
    axes.margins(x=0)


def _numbers(axes: Axes, part: Part) -> None:
    if part.array.ndim > 1:
        axes.imshow(part.array.reshape(-1, part.array.shape[-1]), aspect="auto", origin="lower", interpolation="nearest", rasterized=True)
        axes.set(xlabel="column", ylabel="row")
        return
    axes.plot(part.array.reshape(-1), marker="o" if part.array.size < 2 else "", linewidth=0.8)
    axes.set(xlabel="index", ylabel="value")
