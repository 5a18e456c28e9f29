"""torch itself: ``torch.stft``, and a matrix product with the filterbank, which is how torchaudio computes a mel spectrogram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specgraph.bench.subjects import FOURIER
from specgraph.bench.work import Ready, Work, peer


def in_torch(module: Any, work: Work, features: Callable[[Any], Any] = lambda result: result) -> Ready:
    """A torch module on the work's device, without gradients; numpy in and out on a CPU."""
    import torch

    size = None
    if isinstance(module, torch.nn.Module):
        module = module.to(work.device).eval()
        held = {tensor.data_ptr(): tensor for tensor in (*module.parameters(), *module.buffers())}
        size = sum(tensor.numel() * tensor.element_size() for tensor in held.values())

    def on_cpu(waves: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(waves))

    def on_device(waves: Any) -> Any:
        with torch.inference_mode():
            return module(waves)

    return Ready(on_cpu if work.device == "cpu" else on_device, features, size)


def decibels(power: Any) -> Any:
    """10 log10, with librosa's floor."""
    return 10.0 * power.clamp(min=1e-10).log10()


@peer(
    "torch.stft",
    package="torch",
    computes=FOURIER,
    devices=("cpu", "cuda"),
    note="torchaudio's formula: the power of torch.stft, times the filterbank",
)
def torch_stft(work: Work) -> Ready:
    """``torch.stft`` and what follows it."""
    import torch

    t, subject = work.transform, work.subject.name
    window = torch.hann_window(t.n_fft, device=work.device)
    bank = None if subject in ("stft", "spectrogram") else torch.from_numpy(t.bank().T.copy()).float().to(work.device)

    def call(waves: Any) -> Any:
        spectrum = torch.stft(
            waves, t.n_fft, t.hop, window=window, center=True, pad_mode="reflect", return_complex=True
        )
        if subject == "stft":
            return spectrum
        if bank is None:
            return spectrum.abs()
        mel = torch.matmul(spectrum.abs().pow(2.0).transpose(-1, -2), bank).transpose(-1, -2)
        return decibels(mel) if subject == "log-mel" else mel

    return in_torch(call, work)


@peer(
    "torchlibrosa",
    package="torchlibrosa",
    computes=FOURIER,
    devices=("cpu", "cuda"),
    note="two convolutions with the whole basis; gives (batch, 1, frames, bins)",
)
def torchlibrosa(work: Work) -> Ready:
    """``torchlibrosa``'s Spectrogram and LogmelFilterBank, as PANNs use them."""
    import torch
    from torchlibrosa import stft

    t, subject = work.transform, work.subject.name
    common = {"n_fft": t.n_fft, "hop_length": t.hop, "pad_mode": "reflect"}
    if subject == "stft":
        return in_torch(
            stft.STFT(**common), work, lambda parts: torch.stack(parts, -1)[:, 0].transpose(1, 2)
        )
    layers = [stft.Spectrogram(power=1.0 if subject == "spectrogram" else 2.0, **common)]
    if subject != "spectrogram":
        bank = stft.LogmelFilterBank(
            sr=t.sample_rate, n_fft=t.n_fft, n_mels=t.n_mels, fmin=t.fmin, fmax=t.fmax, is_log=subject == "log-mel", top_db=None
        )
        layers.append(bank)
    return in_torch(torch.nn.Sequential(*layers), work, lambda result: result[:, 0].transpose(1, 2))
