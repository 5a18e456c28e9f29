"""Transforms: parameters with the field's names, and the graph that they stand for.

To add one, add a file here with a frozen dataclass that subclasses ``Transform``; ``registry`` finds it.
"""

from importlib import import_module
from pkgutil import iter_modules

from specgraph.transforms.base import Parameter as Parameter
from specgraph.transforms.base import Transform as Transform
from specgraph.transforms.base import registry as registry
from specgraph.transforms.chroma import ChromaSTFT as ChromaSTFT
from specgraph.transforms.chroma import Tonnetz as Tonnetz
from specgraph.transforms.contrast import SpectralContrast as SpectralContrast
from specgraph.transforms.frame_level import RMS as RMS
from specgraph.transforms.frame_level import ZeroCrossingRate as ZeroCrossingRate
from specgraph.transforms.lfcc import LFCC as LFCC
from specgraph.transforms.mel import LogMelSpectrogram as LogMelSpectrogram
from specgraph.transforms.mel import MelSpectrogram as MelSpectrogram
from specgraph.transforms.mfcc import MFCC as MFCC
from specgraph.transforms.pcen import PCEN as PCEN
from specgraph.transforms.spectral import SpectralBandwidth as SpectralBandwidth
from specgraph.transforms.spectral import SpectralCentroid as SpectralCentroid
from specgraph.transforms.spectral import SpectralFlatness as SpectralFlatness
from specgraph.transforms.spectral import SpectralRolloff as SpectralRolloff
from specgraph.transforms.spectrogram import Spectrogram as Spectrogram

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
