"""Audio tagging and music: VGGish, YAMNet, PANNs, CLAP, Onsets and Frames."""

from specgraph.op import Op
from specgraph.ops.affine import Affine
from specgraph.ops.layout import Reshape, Transpose
from specgraph.ops.pad import Pad
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.ops.stack_frames import StackFrames
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

ROWS = 96  # frames of a patch
PATCHES = ("batch", "frames", "rows", "bins")  # a frame is a patch here


def vggish(name: str, models: str, offset: float, step: int, before: tuple[Op, ...], source: str) -> Preset:
    """ln(mel magnitude + offset) of windows of 25 ms that begin their frames of 512, in patches of 96."""
    return Preset(
        name=name,
        models=models,
        source=source,
        reference="torchvggish.mel_features",
        before=before,
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=512, win_length=400, hop_length=160, center=False, align="start", power=1.0, n_mels=64,
            fmin=125.0, fmax=7500.0, htk=True, norm=None, straight="mel", log="ln", amin=0.0, offset=offset, top_db=None,
        ),
        after=(StackFrames(ROWS, step), Transpose((0, 2, 1)), Reshape((0, 0, ROWS, 64))),
        axes=PATCHES,
    )  # fmt: skip


PRESETS = (
    vggish("vggish", "VGGish", 0.01, ROWS, (), "tensorflow/models audioset/vggish mel_features.py and vggish_input.py; patches do not overlap"),
    # zeros fill up the last patch; a clip needs 0.5 s, where YAMNet's own code fills up shorter ones too
    vggish("yamnet", "YAMNet", 0.001, ROWS // 2, (Pad(0, 7679, "constant"),), "tensorflow/models audioset/yamnet features.py"),
    Preset(
        name="panns",
        models="PANNs at 32 kHz (Cnn14), before bn0",
        source="qiuqiangkong/audioset_tagging_cnn pytorch/models.py Cnn14",
        reference="torchlibrosa.Spectrogram and LogmelFilterBank",
        transform=LogMelSpectrogram(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=64, fmin=50.0, fmax=14000.0, amin=1e-10, top_db=None),
        frames_first=True,
    ),
    Preset(
        name="clap",
        models="LAION-CLAP without fusion as clap-unfused, but 10 s from the clip's beginning, filled up with zeros (padding='pad')",
        source="transformers ClapFeatureExtractor(truncation='rand_trunc', padding='pad', frequency_min=50)",
        reference="transformers.ClapFeatureExtractor",
        transform=LogMelSpectrogram(sample_rate=48000, n_fft=1024, hop_length=480, n_mels=64, fmin=50.0, fmax=14000.0, amin=1e-10, top_db=None),
        length=480000,
        frames_first=True,
    ),
    Preset(
        name="onsets-and-frames",
        models="Onsets and Frames in PyTorch",
        source="jongwook/onsets-and-frames onsets_and_frames/mel.py: HTK's scale, Slaney's norm",
        reference="librosa",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=2048, hop_length=512, power=1.0, n_mels=229, fmin=30.0, fmax=8000.0, htk=True, log="ln", amin=1e-5, top_db=None
        ),
        frames_first=True,
    ),
    Preset(
        name="passt",
        models="PaSST and EfficientAT at evaluation",
        source="kkoutini/PaSST models/preprocess.py AugmentMelSTFT: fmax is half the sample rate less half of fmax_aug_range",
        reference="librosa.stft with Kaldi's filters of transformers.audio_utils",
        before=(PreEmphasis(0.97, "drop"),),
        transform=LogMelSpectrogram(
            sample_rate=32000, n_fft=1024, win_length=800, hop_length=320, window=("symmetric", "hann"), n_mels=128, fmax=15000.0,
            htk=True, norm=None, straight="mel", log="ln", amin=0.0, offset=1e-5, top_db=None,
        ),
        after=(Affine(0.2, 0.9),),
        aliases=("efficientat",),
    ),
    Preset(
        name="ced",
        models="CED, before init_bn",
        source="RicherMans/CED models/audiotransformer.py FrontEnd: torchaudio's filters, decibels, at most 120 below the clip's maximum",
        reference="torchaudio.transforms.MelSpectrogram and AmplitudeToDB",
        transform=LogMelSpectrogram(sample_rate=16000, n_fft=512, hop_length=160, n_mels=64, htk=True, norm=None, amin=1e-10, top_db=120.0),
    ),
    Preset(
        name="musicnn",
        models="MusicNN",
        source="jordipons/musicnn extractor.py batch_data: log10(10000 mel + 1), before its cast to float16",
        reference="librosa",
        transform=LogMelSpectrogram(sample_rate=16000, n_fft=512, hop_length=256, n_mels=96, log="log10", amin=0.0, offset=1e-4, top_db=None),
        after=(Affine(offset=4.0),),  # log10(10000 m + 1) = 4 + log10(m + 1e-4)
        frames_first=True,
    ),
)  # fmt: skip
