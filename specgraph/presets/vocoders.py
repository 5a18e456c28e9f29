"""Mel spectrograms that vocoders and speech synthesis speak."""

from specgraph.ops.pad import Pad
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

UNIVNET = "transformers.UnivNetFeatureExtractor with these parameters"


def hifi_gan(name: str, models: str, sample_rate: int, n_fft: int, n_mels: int, fmax: float | None) -> Preset:
    """ln(max(mel of sqrt(power + 1e-9), 1e-5)) of frames that are not centred, the clip mirrored by (n_fft - hop) / 2."""
    hop = n_fft // 4
    return Preset(
        name=name,
        models=models,
        source="jik876/hifi-gan meldataset.py mel_spectrogram, which NVIDIA/BigVGAN took over",
        reference=UNIVNET,
        before=(Pad((n_fft - hop) // 2, mode="reflect"),),
        transform=LogMelSpectrogram(
            sample_rate=sample_rate, n_fft=n_fft, hop_length=hop, center=False, power=1.0, power_offset=1e-9, n_mels=n_mels, fmax=fmax,
            log="ln", amin=1e-5, top_db=None,
        ),
    )  # fmt: skip


PRESETS = (
    hifi_gan("hifi-gan", "HiFi-GAN v1 to v3 at 22,050 Hz", 22050, 1024, 80, 8000.0),
    hifi_gan("univnet", "UnivNet", 24000, 1024, 100, 12000.0),
    hifi_gan("bigvgan-24k", "BigVGAN at 24 kHz with 100 bands", 24000, 1024, 100, 12000.0),
    hifi_gan("bigvgan-v2-44k", "BigVGAN v2 at 44.1 kHz with 128 bands", 44100, 2048, 128, None),
    Preset(
        name="tacotron2",
        models="Tacotron 2 and WaveGlow",
        source="NVIDIA/tacotron2 layers.py TacotronSTFT",
        reference="librosa",
        transform=LogMelSpectrogram(
            sample_rate=22050, n_fft=1024, hop_length=256, power=1.0, n_mels=80, fmax=8000.0, log="ln", amin=1e-5, top_db=None
        ),
    ),
    Preset(
        name="vocos",
        models="Vocos mel at 24 kHz",
        source="gemelo-ai/vocos feature_extractors.py MelSpectrogramFeatures, padding 'center'; torchaudio's filters",
        reference="librosa",
        transform=LogMelSpectrogram(
            sample_rate=24000, n_fft=1024, hop_length=256, power=1.0, n_mels=100, htk=True, norm=None, log="ln", amin=1e-7, top_db=None
        ),
    ),
    Preset(
        name="tortoise",
        models="Tortoise's CLVP and conditioning, 6 s; bin_scale takes 1 / mel_norms",
        source="transformers ClvpFeatureExtractor: HTK's scale with Slaney's norm",
        reference="transformers.ClvpFeatureExtractor",
        transform=LogMelSpectrogram(
            sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, fmax=8000.0, htk=True, log="ln", amin=1e-5, top_db=None
        ),
        length=132300,
        aliases=("clvp",),
    ),
    Preset(
        name="speecht5",
        models="SpeechT5's targets",
        source="transformers SpeechT5FeatureExtractor",
        reference="transformers.SpeechT5FeatureExtractor(audio_target=...)",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=1024, hop_length=256, power=1.0, n_mels=80, fmin=80.0, fmax=7600.0, log="log10", amin=1e-10, top_db=None
        ),
        frames_first=True,
    ),
)
