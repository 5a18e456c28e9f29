"""Transforms: parameters with the field's names, and the graph that they stand for.

To add one, add a file here with a frozen dataclass that subclasses ``Transform``; ``registry`` finds it.
"""

from importlib import import_module
from pkgutil import iter_modules

from specgraph.transforms.base import Parameter as Parameter
from specgraph.transforms.base import Transform as Transform
from specgraph.transforms.base import registry as registry
from specgraph.transforms.cfp import CFP as CFP
from specgraph.transforms.cfp import Combined_Frequency_Periodicity as Combined_Frequency_Periodicity
from specgraph.transforms.cfp import CombinedFrequencyPeriodicity as CombinedFrequencyPeriodicity
from specgraph.transforms.gammatone import Gammatonegram as Gammatonegram
from specgraph.transforms.mel import LogMelSpectrogram as LogMelSpectrogram
from specgraph.transforms.mel import MelSpectrogram as MelSpectrogram
from specgraph.transforms.mfcc import MFCC as MFCC
from specgraph.transforms.resample import Resample as Resample
from specgraph.transforms.spectrogram import Spectrogram as Spectrogram

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
