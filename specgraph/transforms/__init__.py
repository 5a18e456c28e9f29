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
from specgraph.transforms.chroma import ChromaSTFT as ChromaSTFT
from specgraph.transforms.chroma import Tonnetz as Tonnetz
from specgraph.transforms.constant_q import CQT as CQT
from specgraph.transforms.constant_q import CQT1992 as CQT1992
from specgraph.transforms.constant_q import CQT2010 as CQT2010
from specgraph.transforms.constant_q import VQT as VQT
from specgraph.transforms.constant_q import CQT1992v2 as CQT1992v2
from specgraph.transforms.constant_q import CQT2010v2 as CQT2010v2
from specgraph.transforms.contrast import SpectralContrast as SpectralContrast
from specgraph.transforms.frame_level import RMS as RMS
from specgraph.transforms.frame_level import ZeroCrossingRate as ZeroCrossingRate
from specgraph.transforms.gammatone import Gammatonegram as Gammatonegram
from specgraph.transforms.griffin_lim import GriffinLim as GriffinLim
from specgraph.transforms.harmonic_cqt import ChromaCQT as ChromaCQT
from specgraph.transforms.harmonic_cqt import HarmonicCQT as HarmonicCQT
from specgraph.transforms.inverse_cqt import InverseCQT as InverseCQT
from specgraph.transforms.inverse_mel import InverseMelSpectrogram as InverseMelSpectrogram
from specgraph.transforms.inverse_spectrogram import InverseSpectrogram as InverseSpectrogram
from specgraph.transforms.kaldi import KaldiFbank as KaldiFbank
from specgraph.transforms.kaldi import KaldiMfcc as KaldiMfcc
from specgraph.transforms.lfcc import LFCC as LFCC
from specgraph.transforms.mel import LogMelSpectrogram as LogMelSpectrogram
from specgraph.transforms.mel import MelSpectrogram as MelSpectrogram
from specgraph.transforms.mfcc import MFCC as MFCC
from specgraph.transforms.octavewise_cqt import OctavewiseCQT as OctavewiseCQT
from specgraph.transforms.pcen import PCEN as PCEN
from specgraph.transforms.resample import Resample as Resample
from specgraph.transforms.spectral import SpectralBandwidth as SpectralBandwidth
from specgraph.transforms.spectral import SpectralCentroid as SpectralCentroid
from specgraph.transforms.spectral import SpectralFlatness as SpectralFlatness
from specgraph.transforms.spectral import SpectralRolloff as SpectralRolloff
from specgraph.transforms.spectrogram import Spectrogram as Spectrogram
from specgraph.transforms.waveform import StandardizedWaveform as StandardizedWaveform
from specgraph.transforms.waveform import Waveform as Waveform
from specgraph.transforms.waveform import WaveformFrames as WaveformFrames

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
