"""Pitch, transcription, music generation and separation: basic-pitch, CREPE, MusicGen melody, Pop2Piano, HTDemucs."""

from specgraph.op import Input
from specgraph.ops.affine import Affine
from specgraph.ops.cut_to_multiple import CutToMultiple
from specgraph.ops.layout import Slice, Transpose
from specgraph.ops.log import Log10
from specgraph.ops.one_hot_largest import OneHotLargest
from specgraph.ops.pad import Pad
from specgraph.ops.stack_harmonics import StackHarmonics
from specgraph.ops.standardize import Standardize
from specgraph.ops.unit_range import UnitRange
from specgraph.presets.base import Preset
from specgraph.transforms.chroma import ChromaSTFT
from specgraph.transforms.inverse_spectrogram import InverseSpectrogram
from specgraph.transforms.mel import LogMelSpectrogram
from specgraph.transforms.octavewise_cqt import OctavewiseCQT
from specgraph.transforms.spectrogram import Spectrogram
from specgraph.transforms.waveform import WaveformFrames

DEMUCS = "adefossez/demucs htdemucs.py {} and spec.py; channels are rows of the batch; a segment of 7.8 s, as its models have it"
N_FFT, HOP, EDGE = 4096, 1024, 1536
SEGMENT = 343980
CREPE_FRAMES = WaveformFrames(sample_rate=16000, frame_length=1024, hop_length=160)

PRESETS = (
    Preset(
        name="basic-pitch",
        models="basic-pitch (ICASSP 2022), windows of 43,844 samples",
        source="spotify/basic-pitch layers/nnaudio.py CQT2010v2, layers/signal.py NormalizedLog, nn.py HarmonicStacking; the batch normalisation "
        "before the harmonics with the two numbers of icassp_2022/nmp.onnx",
        reference="basic-pitch's own nmp.onnx, cut after its harmonic stacking",
        transform=OctavewiseCQT(sample_rate=22050, hop_length=256, fmin=27.5, n_bins=309, bins_per_octave=36, power=2.0),
        after=(
            Log10(0.0, 1e-10), UnitRange(), Affine(2.480741024017334, -0.8769183158874512),
            StackHarmonics((0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), 36, 264), Transpose((0, 3, 2, 1)),
        ),
        length=43844,
        axes=("batch", "frames", "bins", "harmonics"),
    ),
    Preset(
        name="crepe",
        models="CREPE",
        source="marl/crepe core.py get_activation, center=True: less the mean, over the deviation or 1e-8; a frame without any deviation is zeros",
        reference="none that installs without TensorFlow; the formula in float64 numpy",
        transform=CREPE_FRAMES,
        after=(Standardize(epsilon=1e-8, added_to="least"),),
        axes=("batch", "frames", "places"),
    ),
    Preset(
        name="torchcrepe",
        models="torchcrepe, and with it RVC and so-vits-svc",
        source="maxrmorrison/torchcrepe core.py preprocess: the deviation of n - 1, or 1e-10",
        reference="torchcrepe.preprocess",
        transform=CREPE_FRAMES,
        after=(Standardize(ddof=1, epsilon=1e-10, added_to="least"),),
        axes=("batch", "frames", "places"),
    ),
    Preset(
        name="musicgen-melody",
        models="MusicGen melody; clips of 16,384 samples or more, which its extractor fills shorter ones up to",
        source="transformers MusicgenMelodyFeatureExtractor: 1 at the loudest pitch class of each frame, else 0",
        reference="transformers.MusicgenMelodyFeatureExtractor",
        transform=ChromaSTFT(sample_rate=32000, n_fft=16384, hop_length=4096, norm=None),
        after=(OneHotLargest(),),
        frames_first=True,
    ),
    Preset(
        name="pop2piano",
        models="Pop2Piano, a stretch of some beats, which its extractor finds by essentia",
        source="transformers Pop2PianoFeatureExtractor.mel_spectrogram, then its logarithm",
        reference="transformers.Pop2PianoFeatureExtractor.mel_spectrogram",
        transform=LogMelSpectrogram(
            sample_rate=22050, n_fft=4096, hop_length=1024, n_mels=512, fmin=10.0, fmax=11025.0, htk=True, norm=None,
            allow_empty_filters=True, log="ln", amin=1e-6, top_db=None,
        ),
        frames_first=True,
    ),
    Preset(
        name="htdemucs",
        models="HTDemucs and HDemucs: real and imaginary parts as channels",
        source=DEMUCS.format("_spec, _magnitude"),
        reference="demucs.htdemucs.HTDemucs._spec",
        # mirrored by 1536 at both ends, and up to a whole number of hops; of centred frames theirs drops those that reach beyond that
        before=(Pad(EDGE, EDGE + HOP - 1, "reflect"), CutToMultiple(HOP, 2 * EDGE), Affine(N_FFT**-0.5)),
        transform=Spectrogram(sample_rate=44100, n_fft=N_FFT, hop_length=HOP, center=False, output="complex", freq_bins=N_FFT // 2),
        after=(Transpose((0, 3, 1, 2)),),
        length=SEGMENT,
        axes=("batch", "parts", "bins", "frames"),
    ),
    Preset(
        name="htdemucs-inverse",
        models="HTDemucs and HDemucs: what they separated, back to waveforms",
        source=DEMUCS.format("_mask, _ispec"),
        reference="demucs.htdemucs.HTDemucs._ispec",
        takes=Input("features", ("batch", 2, N_FFT // 2, "frames"), HOP, N_FFT // 2 - EDGE),
        before=(Pad(0, 1, "constant", axis=2), Pad(2, 2, "constant", axis=3), Transpose((0, 2, 3, 1))),
        transform=InverseSpectrogram(sample_rate=44100, n_fft=N_FFT, hop_length=HOP),
        after=(Affine(N_FFT**0.5), Slice(EDGE, -EDGE)),
        length=SEGMENT,
    ),
)  # fmt: skip
