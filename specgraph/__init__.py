"""specgraph: a compiler for audio front ends, from a torch graph to one self-contained ``.onnx`` file.

Names are loaded when they are first used, so that ``import specgraph`` costs nothing and a serving host needs
neither torch nor onnx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from specgraph.builder import Builder as Builder
    from specgraph.export import read_graph as read_graph
    from specgraph.export import to_onnx as to_onnx
    from specgraph.export import verify as verify
    from specgraph.graph import Graph as Graph
    from specgraph.lowering import lower as lower
    from specgraph.runtimes import load as load
    from specgraph.transforms import CFP as CFP
    from specgraph.transforms import MFCC as MFCC
    from specgraph.transforms import Combined_Frequency_Periodicity as Combined_Frequency_Periodicity
    from specgraph.transforms import CombinedFrequencyPeriodicity as CombinedFrequencyPeriodicity
    from specgraph.transforms import Gammatonegram as Gammatonegram
    from specgraph.transforms import LogMelSpectrogram as LogMelSpectrogram
    from specgraph.transforms import MelSpectrogram as MelSpectrogram
    from specgraph.transforms import Resample as Resample
    from specgraph.transforms import Spectrogram as Spectrogram

_HOME = {
    "Builder": "specgraph.builder",
    "CFP": "specgraph.transforms",
    "Combined_Frequency_Periodicity": "specgraph.transforms",
    "CombinedFrequencyPeriodicity": "specgraph.transforms",
    "Gammatonegram": "specgraph.transforms",
    "Graph": "specgraph.graph",
    "LogMelSpectrogram": "specgraph.transforms",
    "MFCC": "specgraph.transforms",
    "MelSpectrogram": "specgraph.transforms",
    "Resample": "specgraph.transforms",
    "Spectrogram": "specgraph.transforms",
    "load": "specgraph.runtimes",
    "lower": "specgraph.lowering",
    "read_graph": "specgraph.export",
    "to_onnx": "specgraph.export",
    "verify": "specgraph.export",
}

__all__ = [  # noqa: RUF022
    "__version__",
    "Builder",
    "CFP",
    "Combined_Frequency_Periodicity",
    "CombinedFrequencyPeriodicity",
    "Gammatonegram",
    "Graph",
    "LogMelSpectrogram",
    "MFCC",
    "MelSpectrogram",
    "Resample",
    "Spectrogram",
    "load",
    "lower",
    "read_graph",
    "to_onnx",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"specgraph has no {name!r}; it has {', '.join(_HOME)}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
