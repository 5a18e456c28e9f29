"""NeMo's log-mel features: Parakeet, Canary, FastConformer and others."""

from specgraph.op import Op
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.ops.standardize import Standardize
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

SOURCE = "NVIDIA/NeMo collections/asr/parts/preprocessing/features.py, FilterbankFeatures and normalize_batch; no dither, pad_to 0"
NORMALIZED = (Standardize(ddof=1, epsilon=1e-5, added_to="deviation"),)


def nemo(
    name: str, n_mels: int, models: str, reference: str, normalized: tuple[Op, ...] = NORMALIZED, frames_first: bool = False,
    aliases: tuple[str, ...] = (),
) -> Preset:  # fmt: skip
    """Pre-emphasis of the clip, ln(mel power + 2 ** -24), each bin standardized over all frames but the last, which is zeros."""
    return Preset(
        name=name,
        models=models,
        source=SOURCE,
        reference=reference,
        before=(PreEmphasis(0.97, "keep"),),
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=512, win_length=400, hop_length=160, window=("symmetric", "hann"), pad_mode="constant",
            n_mels=n_mels, log="ln", amin=0.0, offset=2.0**-24, top_db=None,
        ),
        # samples // hop frames are valid, one fewer than there are: statistics leave the last out, and it is masked
        after=(Slice(0, -1, axis=2), *normalized, Pad(0, 1, "constant", axis=2)),
        frames_first=frames_first,
        aliases=aliases,
    )  # fmt: skip


PRESETS = (
    nemo("nemo-80", 80, "NeMo's FastConformer, Conformer and Parakeet CTC models", "transformers.ParakeetFeatureExtractor, transposed"),
    nemo("nemo-128", 128, "NeMo's Canary and Parakeet TDT 0.6B v2 and v3", "transformers.ParakeetFeatureExtractor, transposed", aliases=("canary",)),
    nemo("parakeet", 80, "Parakeet in transformers (TDT 0.6B: n_mels=128)", "transformers.ParakeetFeatureExtractor", frames_first=True),
    nemo(
        "nemotron-streaming", 80, "Nemotron streaming ASR in transformers, as a whole clip", "transformers.NemotronAsrStreamingFeatureExtractor",
        normalized=(), frames_first=True,
    ),
)  # fmt: skip
