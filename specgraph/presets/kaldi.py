"""Front ends that are Kaldi's, with a toolkit's options and what it does to the features."""

from specgraph.op import Op
from specgraph.ops.affine import Affine
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.pad import Pad
from specgraph.ops.stack_frames import StackFrames
from specgraph.ops.standardize import Standardize
from specgraph.presets.base import Preset
from specgraph.transforms.kaldi import KaldiFbank, KaldiMfcc, KaldiTransform

KNF = "kaldi_native_fbank.OnlineFbank"


def kaldi(
    name: str, models: str, source: str, transform: KaldiTransform, after: tuple[Op, ...] = (), reference: str = KNF, frames_first: bool = True
) -> Preset:  # fmt: skip
    """A preset without anything before the transform."""
    return Preset(name=name, models=models, source=source, reference=reference, transform=transform, after=after, frames_first=frames_first)


def low_frame_rate(size: int, step: int) -> tuple[Op, ...]:
    """FunASR's apply_lfr: ``size`` frames as one, every ``step``, the first and the last repeated: ceil(frames / step) of them."""
    left = (size - 1) // 2
    return (Pad(left, size - 1 - left, "edge", axis=2), StackFrames(size, step))


def normal(mean: float, deviation: float) -> Affine:
    """``(x - mean) / (2 * deviation)``, as audio transformers have it."""
    return Affine(1 / (2 * deviation), -mean / (2 * deviation))


FUNASR = "modelscope/FunASR frontends/wav_frontend.py; bin_shift and bin_scale are the model's am.mvn"
HAMMING_80 = KaldiFbank(n_mels=80, window="hamming")

PRESETS = (
    kaldi("kaldi-fbank", "Kaldi with its default options", "kaldi feat/feature-fbank.cc", KaldiFbank(), frames_first=False),
    kaldi("kaldi-mfcc", "Kaldi with its default options", "kaldi feat/feature-mfcc.cc", KaldiMfcc(), reference="kaldi_native_fbank.OnlineMfcc", frames_first=False),
    kaldi(
        "icefall", "icefall, sherpa and lhotse (Zipformer, Conformer)", "k2-fsa/sherpa FeatureExtractorConfig: [-1, 1], 20 to 7600 Hz, not snip_edges",
        KaldiFbank(n_mels=80, scale=1.0, snip_edges=False, fmax=-400.0),
    ),
    kaldi("fireredasr", "FireRedASR (global CMVN: bin_shift, bin_scale)", "FireRedTeam/FireRedASR data/asr_feat.py; no dither", KaldiFbank(n_mels=80)),
    kaldi("wenet", "WeNet (global CMVN: bin_shift, bin_scale)", "wenet-e2e/wenet dataset/processor.py compute_fbank; no dither", KaldiFbank(n_mels=80)),
    kaldi(
        "wespeaker", "WeSpeaker and pyannote's speaker embeddings", "wenet-e2e/wespeaker: Hamming, less each bin's mean over the clip; no dither",
        HAMMING_80, (Cmvn(norm_vars=False),),
    ),
    kaldi("paraformer", "Paraformer and SenseVoice", FUNASR, HAMMING_80, low_frame_rate(7, 6)),
    kaldi("fsmn-vad", "FunASR's FSMN-VAD", FUNASR, HAMMING_80, low_frame_rate(5, 1)),
    kaldi("fsmn-kws", "FunASR's FSMN-KWS", FUNASR, HAMMING_80, low_frame_rate(5, 3)),
    kaldi(
        "telespeech", "TeleSpeech-ASR", "k2-fsa/sherpa-onnx offline-telespeech-ctc-model",
        KaldiMfcc(n_mfcc=40, n_mels=40, fmin=40.0, fmax=-200.0, use_energy=False), reference="kaldi_native_fbank.OnlineMfcc",
    ),
    kaldi(
        "seamless-m4t", "SeamlessM4T and w2v-BERT 2.0", "transformers SeamlessM4TFeatureExtractor", KaldiFbank(n_mels=80),
        (Standardize(ddof=1, epsilon=1e-7), Pad(0, 1, "constant", axis=2), StackFrames(2)), "transformers.SeamlessM4TFeatureExtractor",
    ),
    kaldi(
        "speech2text", "Speech2Text (S2T)", "transformers Speech2TextFeatureExtractor.utterance_cmvn", KaldiFbank(n_mels=80),
        (Standardize(),), "transformers.Speech2TextFeatureExtractor",
    ),
    kaldi(
        "ast", "Audio Spectrogram Transformer", "transformers ASTFeatureExtractor: 1024 frames, then AudioSet's mean and deviation",
        KaldiFbank(n_mels=128, window="hanning", scale=1.0), (FixedLength(1024, axis=2), normal(-4.2677393, 4.5689974)),
        "transformers.ASTFeatureExtractor",
    ),
    kaldi("beats", "BEATs", "microsoft/unilm beats/BEATs.py preprocess", KaldiFbank(n_mels=128), (normal(15.41663, 6.55582),)),
    kaldi(
        "phi-4-multimodal", "Phi-4-multimodal at 16 kHz", "transformers Phi4MultimodalFeatureExtractor",
        KaldiFbank(n_mels=80, window="hamming", remove_dc_offset=False, fmin=0.0, fmax=7690.0, mel_floor=1.0),
        reference="transformers.Phi4MultimodalFeatureExtractor",
    ),
)  # fmt: skip
