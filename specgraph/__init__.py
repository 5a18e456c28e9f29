"""specgraph: a compiler for audio front ends, from a torch graph to one self-contained ``.onnx`` file.

Names are loaded when they are first used, so that ``import specgraph`` costs nothing and a serving host needs
neither torch nor onnx.
"""

from __future__ import annotations

from specgraph import interrupts

interrupts.end_at_once()  # before imports that take long; where specgraph is the program that runs

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from specgraph import constraints as constraints
    from specgraph import plot as plot
    from specgraph.builder import Builder as Builder
    from specgraph.export import attach as attach
    from specgraph.export import read_graph as read_graph
    from specgraph.export import to_onnx as to_onnx
    from specgraph.export import verify as verify
    from specgraph.graph import Graph as Graph
    from specgraph.groups import parameter_groups as parameter_groups
    from specgraph.lowering import lower as lower
    from specgraph.presets import preset as preset
    from specgraph.presets.nemo_config import from_nemo as from_nemo
    from specgraph.presets.transformers_config import from_transformers as from_transformers
    from specgraph.ragged import with_lengths as with_lengths
    from specgraph.recorded import with_input as with_input
    from specgraph.runtimes import load as load
    from specgraph.runtimes.extract import extract as extract
    from specgraph.runtimes.extract import extract_batch as extract_batch
    from specgraph.transforms import CFP as CFP
    from specgraph.transforms import CQT as CQT
    from specgraph.transforms import CQT1992 as CQT1992
    from specgraph.transforms import CQT2010 as CQT2010
    from specgraph.transforms import LFCC as LFCC
    from specgraph.transforms import MFCC as MFCC
    from specgraph.transforms import PCEN as PCEN
    from specgraph.transforms import RMS as RMS
    from specgraph.transforms import VQT as VQT
    from specgraph.transforms import ChromaCQT as ChromaCQT
    from specgraph.transforms import ChromaSTFT as ChromaSTFT
    from specgraph.transforms import Combined_Frequency_Periodicity as Combined_Frequency_Periodicity
    from specgraph.transforms import CombinedFrequencyPeriodicity as CombinedFrequencyPeriodicity
    from specgraph.transforms import CQT1992v2 as CQT1992v2
    from specgraph.transforms import CQT2010v2 as CQT2010v2
    from specgraph.transforms import Gammatonegram as Gammatonegram
    from specgraph.transforms import GriffinLim as GriffinLim
    from specgraph.transforms import HarmonicCQT as HarmonicCQT
    from specgraph.transforms import InverseCQT as InverseCQT
    from specgraph.transforms import InverseMelSpectrogram as InverseMelSpectrogram
    from specgraph.transforms import InverseSpectrogram as InverseSpectrogram
    from specgraph.transforms import KaldiFbank as KaldiFbank
    from specgraph.transforms import KaldiMfcc as KaldiMfcc
    from specgraph.transforms import LogMelSpectrogram as LogMelSpectrogram
    from specgraph.transforms import MelSpectrogram as MelSpectrogram
    from specgraph.transforms import OctavewiseCQT as OctavewiseCQT
    from specgraph.transforms import Resample as Resample
    from specgraph.transforms import SpectralBandwidth as SpectralBandwidth
    from specgraph.transforms import SpectralCentroid as SpectralCentroid
    from specgraph.transforms import SpectralContrast as SpectralContrast
    from specgraph.transforms import SpectralFlatness as SpectralFlatness
    from specgraph.transforms import SpectralRolloff as SpectralRolloff
    from specgraph.transforms import Spectrogram as Spectrogram
    from specgraph.transforms import StandardizedWaveform as StandardizedWaveform
    from specgraph.transforms import Tonnetz as Tonnetz
    from specgraph.transforms import Waveform as Waveform
    from specgraph.transforms import WaveformFrames as WaveformFrames
    from specgraph.transforms import ZeroCrossingRate as ZeroCrossingRate

_TRANSFORMS = (
    "CFP", "ChromaCQT", "ChromaSTFT", "Combined_Frequency_Periodicity", "CombinedFrequencyPeriodicity", "CQT", "CQT1992",
    "CQT1992v2", "CQT2010", "CQT2010v2", "Gammatonegram", "GriffinLim", "HarmonicCQT", "InverseCQT", "InverseMelSpectrogram", "InverseSpectrogram",
    "KaldiFbank", "KaldiMfcc", "LFCC", "LogMelSpectrogram", "MelSpectrogram", "MFCC", "OctavewiseCQT", "PCEN", "Resample", "RMS", "SpectralBandwidth",
    "SpectralCentroid", "SpectralContrast", "SpectralFlatness", "SpectralRolloff", "Spectrogram", "StandardizedWaveform", "Tonnetz", "VQT",
    "Waveform", "WaveformFrames", "ZeroCrossingRate",
)
_HOME = {
    "attach": "specgraph.export",
    "Builder": "specgraph.builder",
    "constraints": "specgraph.constraints",
    "from_nemo": "specgraph.presets.nemo_config",
    "from_transformers": "specgraph.presets.transformers_config",
    "extract": "specgraph.runtimes.extract",
    "extract_batch": "specgraph.runtimes.extract",
    "Graph": "specgraph.graph",
    "load": "specgraph.runtimes",
    "lower": "specgraph.lowering",
    "parameter_groups": "specgraph.groups",
    "preset": "specgraph.presets",
    "read_graph": "specgraph.export",
    "to_onnx": "specgraph.export",
    "verify": "specgraph.export",
    "with_input": "specgraph.recorded",
    "with_lengths": "specgraph.ragged",
    **dict.fromkeys(_TRANSFORMS, "specgraph.transforms"),
}

_MODULES = ("plot",)

__all__ = ["__version__", *_HOME, *_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"specgraph.{name}")
    if name not in _HOME:
        raise AttributeError(f"specgraph has no {name!r}; it has {', '.join(_HOME)}")
    home = import_module(_HOME[name])
    value = globals()[name] = getattr(home, name, home)  # specgraph.constraints is a module
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
