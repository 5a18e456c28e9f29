"""The demo: audio made, a front end composed, exported, verified, run and drawn, in seconds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from specgraph.cli.show import checks_table, choices_table, console

SAMPLE_RATE = 16000
MODEL, PICTURE = "log-mel.onnx", "features.png"


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path("specgraph-demo"),
) -> None:
    """Make audio, compose a log-mel front end, export, verify, run and draw it.

    Example: specgraph demo
    """
    import numpy as np

    import specgraph as sg
    from specgraph.audio import demo_signals
    from specgraph.files import whole
    from specgraph.listing import bytes_text
    from specgraph.plot import Panel, save

    start, out = time.perf_counter(), console()
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; name a folder for the demo with -o")
    clips = demo_signals(SAMPLE_RATE)
    audio = {output / f"{name}.wav": _wav(wave) for name, wave in clips.items()}
    _check_ours(audio, [output / MODEL, output / PICTURE])
    output.mkdir(parents=True, exist_ok=True)
    for path, data in audio.items():
        with whole(path) as temporary:
            temporary.write_bytes(data)
    lengths = ", ".join(f"{name}.wav {len(wave) / SAMPLE_RATE:.1f} s" for name, wave in clips.items())
    out.print(f"[bold]1. audio[/] made in {escape(str(output))}/: {lengths}")

    front_end = sg.LogMelSpectrogram(sample_rate=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80)
    out.print("[bold]2. front end[/] composed: sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80)")
    out.print(str(front_end.graph()), markup=False)

    model = output / MODEL
    report = sg.to_onnx(front_end, model)
    out.print(f"[bold]3. exported[/] {escape(str(model))}: {bytes_text(report.file_size)}, {report.nodes} nodes, standard operators only")
    out.print(choices_table(report.choices, report.target))
    out.print(checks_table(report.checks, report.tolerance))

    run = sg.load(model, device="cpu")
    run(np.zeros((1, SAMPLE_RATE), np.float32))  # the first run plans
    features = {}
    for name, wave in clips.items():
        before = time.perf_counter()
        features[name] = run(wave)
        spent = time.perf_counter() - before
        out.print(
            f"[bold]4. run[/] in onnxruntime: {name}, features {features[name].shape} in {1e3 * spent:.1f} ms, "
            f"{len(wave) / SAMPLE_RATE / spent:,.0f} times faster than it sounds"
        )
    picture = output / PICTURE
    about = run.meta.outputs["features"]
    save([Panel(value, about, SAMPLE_RATE, name) for name, value in features.items()], picture)
    out.print(f"[bold]5. drawn[/] {escape(str(picture))}")
    out.print(f"done in {time.perf_counter() - start:.1f} s. Now with a file of your own:")
    out.print(f"  specgraph run {escape(str(model))} YOUR.wav -o features.npy --plot features.png")


def _wav(wave: Any) -> bytes:
    import io

    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wave, SAMPLE_RATE, subtype="PCM_16", format="WAV")
    return file.getvalue()


def _check_ours(audio: dict[Path, bytes], others: list[Path]) -> None:
    """Raise ``FileExistsError`` where the demo would replace files that no demo wrote: its own lie beside its audio, which never changes."""
    foreign = [path for path, data in audio.items() if path.exists() and (not path.is_file() or path.read_bytes() != data)]
    if not all(path.exists() for path in audio):
        foreign += [path for path in others if path.exists()]
    if foreign:
        raise FileExistsError(f"{foreign[0]} is there already, and the demo did not write it; name another folder with -o")
