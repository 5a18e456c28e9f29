"""The parity table: every preset beside an independent implementation of the same features."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.bench.machine import machine
from specgraph.bench.references import Run, load
from specgraph.bench.tables import Table, machine_text
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.repeat_to_length import RepeatToLength
from specgraph.presets import Preset, preset, presets

Row = dict[str, Any]
LONG = 30  # seconds
ONCE = "short", "30 s", "batch"  # columns that have one number for a preset
ORIGIN = "packages of the `bench` extra, and transformers, torchvggish, onnx-asr, torchaudio, speechbrain, torchcrepe, demucs and basic-pitch"
NOT_ON_WAVES = "takes no waveform; tests/test_presets.py compares it with torch.istft"
COMMAND = "specgraph bench --parity -o docs/parity.md"
EXPLAINED = """Signals: white noise; speech, a voice of thirty harmonics that glides and swells, on a slow drift of 0.2 and noise at -60 dB; near-silence,
noise at -80 dB; noise that is clipped at full scale. The file that `specgraph export` writes is run by onnxruntime on the CPU, in float32, and given the same
samples as the reference. Columns:

- **largest**, **mean**: of the absolute differences between the file's features and the reference's, in their own unit: nats, dB, standard deviations.
- **float64: ours**, **theirs**: the largest difference of each from the definition in float64. Where theirs is the larger, the
  reference's own rounding is what differs; where both are large, the features divide by a deviation near 0 or take the logarithm of a band 100 dB below the
  peak, and float32 holds no more of it. basic-pitch's features all move with the quietest bin of the clip.
- **short**: the largest difference from the reference on noise of one sample, half a frame and a frame, where both take so little.
  One sample, mirrored, is a constant, whose other bins are exactly 0: float32 leaves 1e-7 of the peak there, above the floors of speecht5 and vocos.
- **30 s**: the largest difference on half a minute of speech, or on as much as the model cuts clips to.
- **batch**: the largest difference between a clip alone and the same in a batch with one that is a hundred times louder.

Where a reference is itself off, the formula in float64 is what counts, and `tests/preset_formulas.py` and its neighbour have it: on digital silence
ParakeetFeatureExtractor gives up to 0.2 where a mean rounds, and Speech2TextFeatureExtractor gives NaN, as both it and SeamlessM4TFeatureExtractor do for
a single frame; zeros are given here. OpenAI's own Whisper takes the maximum over the whole batch, transformers and this each clip's.
Where torchaudio is installed, as here, ASTFeatureExtractor and Speech2TextFeatureExtractor compute by it.
"""


def signals(samples: int, sample_rate: int) -> dict[str, Any]:
    """(samples,) float32 by name."""
    t, rng = np.arange(samples) / sample_rate, np.random.default_rng(0)
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 3 * t)) / sample_rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 31)) * 0.1 * (1 + np.sin(4 * np.pi * t))
    made = {
        "noise": np.clip(0.2 * rng.standard_normal(samples), -1, 1),
        "speech": voice + 0.2 * np.sin(0.6 * np.pi * t) + 1e-3 * rng.standard_normal(samples),
        "near-silence": 1e-4 * rng.standard_normal(samples),
        "full scale": np.clip(2 * rng.standard_normal(samples), -1, 1),
    }
    return {name: wave.astype(np.float32) for name, wave in made.items()}


def shorts(p: Preset) -> list[int]:
    """Lengths at which framing goes wrong: a sample, half a frame, and one, or the shortest clip."""
    least, frame = p.graph().least_along_the_clip(), int(getattr(p.transform, "n_fft", 400))
    return sorted({max(least, size) for size in (1, frame // 2, frame)})


def long(p: Preset) -> int:
    """Samples of half a minute, or of the one length that clips are cut to."""
    cut = [value.op.size for value in p.graph().values() if isinstance(value.op, FixedLength | RepeatToLength) and len(value.shape) == 2]
    return min(LONG * p.sample_rate, *cut) if cut else LONG * p.sample_rate


def measured(names: Sequence[str] = (), seconds: float = 3.0) -> Iterator[Row]:
    """A row for every preset, or for those named: what is compared, on what, and the differences."""
    from specgraph.export import to_onnx
    from specgraph.runtimes import load as load_model

    references = load()
    for p in map(preset, names) if names else presets().values():
        reference = references.get(p.name)
        if reference is None or reference.missing:
            yield {"preset": p.name, "why": reference.missing if reference else NOT_ON_WAVES if p.takes else p.reference}
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            to_onnx(p, path)
            run = load_model(path, device="cpu")
        theirs, graph = _quiet(_quiet(reference.make)(p)), p.graph()
        row: Row = {"preset": p.name, "reference": reference.text, "signals": {}}
        for name, wave in signals(int(seconds * p.sample_rate), p.sample_rate).items():
            got, other, exact = run(wave), theirs(wave), graph.numpy(wave[None])["features"][0]
            if got.shape != np.shape(other):
                raise ValueError(f"{p.name} gives {got.shape} and {reference.text} {np.shape(other)}, on {name} of {len(wave)} samples")
            off = np.abs(got - other)
            row["signals"][name] = {
                "largest": float(off.max()), "mean": float(off.mean()), "ours": float(np.abs(got - exact).max()),
                "theirs": float(np.abs(other - exact).max()),
            }  # fmt: skip
        row["short"] = max((off for size in shorts(p) if (off := _short(run, theirs, size)) is not None), default=None)
        wave = signals(long(p), p.sample_rate)["speech"]
        row["30 s"] = float(np.abs(run(wave) - theirs(wave)).max())
        wave = signals(p.sample_rate, p.sample_rate)["speech"]
        row["batch"] = float(np.abs(run(np.stack([wave, 100 * wave[::-1]]))[0] - run(wave)).max())
        yield row


def _quiet(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Without the warnings of other libraries."""

    def silenced(given: Any) -> Any:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return call(given)

    return silenced


def _short(run: Run, theirs: Run, samples: int) -> float | None:
    """The difference on a short clip, or None where the reference refuses it or its features are no numbers."""
    wave = np.clip(0.2 * np.random.default_rng(samples).standard_normal(samples), -1, 1).astype(np.float32)
    got = run(wave)
    try:
        other = theirs(wave)
    except Exception:  # noqa: BLE001  (each library refuses a short clip in its own way)
        return None
    same = got.shape == np.shape(other)  # some fill a short clip up
    return float(np.abs(got - other).max()) if same and np.isfinite(other).all() else None


def table(rows: Sequence[Row]) -> Table:
    """A line for every preset and signal."""
    columns = ("preset", "reference", "signal", "largest", "mean", "float64: ours", "theirs", *ONCE)
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if "why" in row:
            lines.append((row["preset"], row["why"], *[""] * (len(columns) - 2)))
            continue
        for i, (name, off) in enumerate(row["signals"].items()):
            first = i == 0
            numbers = [f"{off[key]:.1e}" for key in ("largest", "mean", "ours", "theirs")]
            ends = ["" if not first else "-" if row[key] is None else f"{row[key]:.1e}" for key in ONCE]
            lines.append((row["preset"] if first else "", row["reference"] if first else "", name, *numbers, *ends))
    return Table("presets beside independent implementations", columns, tuple(lines))


def markdown(rows: Sequence[Row]) -> str:
    """The file ``docs/parity.md``."""
    kept = [row for row in rows if "why" not in row]
    head = f"# Presets and who else computes them\n\nWritten by `{COMMAND}`; references are {ORIGIN}.\n\n"
    return f"{head}{machine_text(machine('cpu'))}\n\n{EXPLAINED}\n{len(kept)} presets.\n\n{table(rows).markdown()}"


def command(names: Sequence[str], seconds: float, output: Path | None) -> None:
    """What ``specgraph bench --parity`` does."""
    from rich.markup import escape

    from specgraph.cli.show import console
    from specgraph.files import check_writable, whole

    if output is not None:
        if output.suffix != ".md":
            raise ValueError(f"--parity writes a .md file, not {output}; name one with -o")
        check_writable(output)
    out, rows = console(), list(measured(names, seconds))
    if not out.is_terminal:
        out.width = 160
    out.print(table(rows).rich())
    if output is not None:
        with whole(output) as temporary:
            temporary.write_text(markdown(rows))
        out.print(f"wrote [bold]{escape(str(output))}[/]")
