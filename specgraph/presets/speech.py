"""Speech models whose features are a log-mel spectrogram and little else."""

from dataclasses import replace

from specgraph.design.bfloat16 import bfloat16
from specgraph.design.windows import analysis_window
from specgraph.ops.affine import Affine
from specgraph.ops.append_deltas import AppendDeltas
from specgraph.ops.arithmetic import Clip
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.cut_to_multiple import CutToMultiple
from specgraph.ops.fill_up import FillUp
from specgraph.ops.layout import Slice
from specgraph.ops.limit_range import LimitRange
from specgraph.ops.stack_frames import StackFrames
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

LOUDEST = 20.72326583694641  # ln(1e9)

SPEECHBRAIN = LogMelSpectrogram(
    sample_rate=16000, n_fft=400, hop_length=160, window="hamming", pad_mode="constant", n_mels=40, htk=True, norm=None,
    straight="symmetric", amin=1e-10, top_db=80.0,
)  # fmt: skip
GRANITE = LogMelSpectrogram(
    sample_rate=16000, n_fft=512, win_length=400, hop_length=160, n_mels=80, htk=True, norm=None, log="log10", amin=1e-10, top_db=None
)


def one_more_at_odd_hops(hop: int) -> FillUp:
    """What Granite Speech 5 does: it fills a clip up to the centre of its last frame, of an even number of frames.

    That is a sample more where a clip is an odd number of whole hops, and none elsewhere: n + (n + hop) // (2 hop), of which the second
    step takes away what is too much behind that place.
    """
    return FillUp(((2 * hop + 1, hop, 2 * hop), (2 * hop, hop + 1, 2 * hop + 1)))


PRESETS = (
    Preset(
        name="gigaam-v2",
        models="GigaAM v1 and v2",
        source="salute-developers/GigaAM preprocess.py: ln of mel power between 1e-9 and 1e9, HTK's scale without norm",
        reference="onnx_asr gigaam_v2",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=400, hop_length=160, n_mels=64, htk=True, norm=None, log="ln", amin=1e-9, top_db=None
        ),
        after=(Clip(maximum=LOUDEST),),
    ),
    Preset(
        name="gigaam-v3",
        models="GigaAM v3",
        source="salute-developers/GigaAM preprocess.py: as v2 with frames of 320, not centred; window and filters are bfloat16, as trained",
        reference="onnx_asr gigaam_v3",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=320, hop_length=160, window=tuple(bfloat16(analysis_window("hann", 320, 320)).tolist()), center=False,
            n_mels=64, htk=True, norm=None, filter_dtype="bfloat16", log="ln", amin=1e-9, top_db=None,
        ),
        after=(Clip(maximum=LOUDEST),),
    ),
    Preset(
        name="speechbrain-fbank",
        models="SpeechBrain's Fbank with its defaults",
        source="speechbrain lobes/features.py Fbank: decibels, 80 below the clip's maximum",
        reference="speechbrain.lobes.features.Fbank",
        transform=SPEECHBRAIN,
        frames_first=True,
    ),
    Preset(
        name="ecapa",
        models="SpeechBrain's ECAPA-TDNN and x-vectors on VoxCeleb (x-vectors: n_mels=24)",
        source="speechbrain processing/features.py STFT, Filterbank, InputNormalization: decibels, 80 below the clip's maximum, less each bin's mean",
        reference="speechbrain.lobes.features.Fbank",
        transform=replace(SPEECHBRAIN, n_mels=80),
        after=(Cmvn(norm_vars=False),),
        frames_first=True,
    ),
    Preset(
        name="granite-speech",
        models="Granite Speech 3",
        source="transformers GraniteSpeechFeatureExtractor: torchaudio's filters, two frames as one, an odd one dropped",
        reference="transformers.GraniteSpeechFeatureExtractor",
        transform=GRANITE,
        after=(LimitRange(8.0), Affine(0.25, 1.0), StackFrames(2)),
        frames_first=True,
    ),
    Preset(
        name="granite-speech-5",
        models="Granite Speech 5",
        source="transformers GraniteSpeech5FeatureExtractor: as before with differences over 3 frames beside, and frames filled up to an even number",
        reference="transformers.GraniteSpeech5FeatureExtractor",
        before=(one_more_at_odd_hops(160),),
        transform=GRANITE,
        after=(CutToMultiple(2, axis=2), LimitRange(8.0), Affine(0.25, 1.0), AppendDeltas(3, "regression"), StackFrames(2)),
        frames_first=True,
    ),
    Preset(
        name="voxtral-realtime",
        models="Voxtral Realtime, as a whole clip",
        source="transformers VoxtralRealtimeFeatureExtractor: Whisper's features above a fixed floor of 1.5 - 8",
        reference="transformers.VoxtralRealtimeFeatureExtractor",
        transform=LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=128, log="log10", amin=1e-10, top_db=None),
        after=(Slice(0, -1, axis=2), Clip(minimum=-6.5), Affine(0.25, 1.0)),
    ),
    Preset(
        name="medasr",
        models="MedASR (LASR)",
        source="transformers LasrFeatureExtractor",
        reference="transformers.LasrFeatureExtractor",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=512, win_length=400, hop_length=160, window=("symmetric", "hann"), center=False, align="start",
            n_mels=128, fmin=125.0, fmax=7500.0, htk=True, norm=None, straight="mel", allow_empty_filters=True, log="ln", amin=1e-5, top_db=None,
        ),
        frames_first=True,
    ),
)  # fmt: skip
