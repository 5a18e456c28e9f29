"""The commands that put models where requests are answered: serve, triton."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from specgraph.cli.run import Device
from specgraph.cli.show import console

if TYPE_CHECKING:
    from specgraph.runtimes.pinned import PinnedModel
    from specgraph.runtimes.serving.batching import Limits
    from specgraph.runtimes.serving.server import Addresses, Server

    NamedModel = tuple[str, str, PinnedModel]


def serve(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Files that specgraph wrote, or NAME=FILE, or NAME:VERSION=FILE.", show_default=False),
    ],
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for every one that this machine has.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="HTTP port; 0 picks a free one.", min=0, max=65535)] = 8000,
    grpc_port: Annotated[int, typer.Option(help="gRPC port; 0 picks a free one.", min=0, max=65535)] = 8001,
    no_grpc: Annotated[bool, typer.Option("--no-grpc", help="HTTP alone.")] = False,
    device: Device = "cpu",
    workers: Annotated[int | None, typer.Option(help="Calls at once; all cores if not given.", min=1, show_default=False)] = None,
    replicas: Annotated[int, typer.Option(help="Server processes at the same address; one that is killed is replaced.", min=1)] = 1,
    max_batch: Annotated[int, typer.Option(help="Most clips of a call.", min=1)] = 32,
    delay: Annotated[float, typer.Option(help="Milliseconds to wait for more clips where a worker is free.", min=0)] = 0.0,
    queue: Annotated[int, typer.Option(help="Most requests of a model that wait; more are refused.", min=1)] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds within which a request is answered or refused.", min=0.001)] = 30.0,
    max_mb: Annotated[float, typer.Option("--max-request", help="Most megabytes of a request.", min=0.001, max=1e6)] = 32.0,
    max_message: Annotated[float, typer.Option(help="Most megabytes of a message over gRPC.", min=0.001, max=1e6)] = 8.0,
    max_answer: Annotated[float, typer.Option(help="Most megabytes of an answer.", min=0.001, max=1e6)] = 128.0,
    memory: Annotated[float, typer.Option(help="Megabytes that all requests hold together, and a call besides; more are refused.", min=1, max=1e6)] = 256.0,
    connections: Annotated[int, typer.Option(help="Connections over HTTP; one more ends the one that waited longest for its client.", min=1)] = 512,
    drain: Annotated[float, typer.Option(help="Seconds to finish requests in when told to stop.", min=0)] = 30.0,
) -> None:
    """Serve models over HTTP and gRPC by the Open Inference Protocol V2, as tritonclient and KServe's clients speak it.

    Also answers audio files: curl --data-binary @speech.wav -H 'Content-Type: audio/wav' http://127.0.0.1:8000/v2/models/mel/infer

    Example: specgraph serve mel.onnx whisper:2=whisper.onnx --port 8000
    """
    try:
        import asyncio

        from specgraph.runtimes.serving.batching import Limits
        from specgraph.runtimes.serving.replicas import Replicas
        from specgraph.runtimes.serving.server import Addresses
    except ImportError as error:
        raise ImportError(f"serve needs {error.name}, which is not installed: pip install 'specgraph[serve]'") from None
    for option, value in (("--delay", delay), ("--timeout", timeout), ("--drain", drain), ("--memory", memory)):
        if not math.isfinite(value):
            raise ValueError(f"{option} must be a finite number, not {value}")
    limits = Limits(
        clips=max_batch, delay=delay / 1e3, queue=queue, request_bytes=int(max_mb * 1e6), message_bytes=int(max_message * 1e6),
        answer_bytes=int(max_answer * 1e6), memory=int(memory * 1e6), connections=connections, seconds=timeout, arrival=timeout, drain=drain,
    )  # fmt: skip
    addresses = Addresses(host, port, None if no_grpc else grpc_port)
    try:
        named = [_named(text, device) for text in models]
        server = _server(named, device, limits, workers, addresses)
        if replicas == 1:
            asyncio.run(server.run(lambda server: _announce(server, Addresses(host, server.http_port, server.grpc_port))))
        else:
            Replicas(_server, (named, device, limits, workers), addresses, replicas).run(lambda addresses: _announce(server, addresses))
    except KeyboardInterrupt:  # while it starts
        console().print("stopped before it served", highlight=False)
        raise typer.Exit(130) from None


def _server(models: list[NamedModel], device: str, limits: Limits, workers: int | None, addresses: Addresses) -> Server:
    from specgraph.runtimes import load
    from specgraph.runtimes.ort import OrtRunner
    from specgraph.runtimes.serving.models import ServedModel
    from specgraph.runtimes.serving.server import Server

    served = []
    for name, version, file in models:
        runner = load(file, device=device)
        assert isinstance(runner, OrtRunner)
        served.append(ServedModel(name, version, runner))
    return Server(served, addresses, limits, workers)


def _named(text: str, device: str) -> NamedModel:
    """A model of the command line, FILE, NAME=FILE or NAME:VERSION=FILE, read once: a replica that starts later loads the same bytes."""
    from specgraph.runtimes.pinned import pin

    named, equals, file = text.rpartition("=")
    path = Path(file)
    name, colon, version = named.partition(":") if equals else (path.stem, "", "")
    if not name or (colon and not version) or "/" in named:
        raise ValueError(f"a model is FILE, NAME=FILE or NAME:VERSION=FILE, and {text!r} is none of them")
    if device.startswith("torch"):
        raise ValueError(f"models are served by onnxruntime, on cpu or cuda, not on {device}")
    return name, version or "1", pin(path)


def _announce(server: Server, addresses: Addresses) -> None:
    host = f"[{addresses.host}]" if ":" in addresses.host else addresses.host
    for model in server.service.repository:
        what = f"[bold]{escape(model.name)}[/] version {escape(model.version)}: {escape(model.runner.path)} on {model.runner.device}"
        console().print(what, highlight=False)
    places = [f"http://{host}:{addresses.http}"] + [f"grpc://{host}:{addresses.grpc}"] * (addresses.grpc is not None)
    console().print(f"listening at {' and '.join(places)}; Ctrl-C stops", highlight=False)


def triton(
    model: Annotated[Path, typer.Argument(help="A file that specgraph wrote.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model repository, a folder.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="Of the model in Triton; the file's if not given.", show_default=False)] = None,
    version: Annotated[int, typer.Option(help="The version that is written.", min=1)] = 1,
    then: Annotated[
        Path | None, typer.Option(help="An .onnx model that takes the features: also an ensemble of the two, NAME_pipeline.", show_default=False)
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="Run on GPUs; Triton refuses the model where there is none.")] = False,
    instances: Annotated[int, typer.Option(help="Copies that run at once, on each GPU or the CPU.", min=1)] = 1,
    max_batch: Annotated[int, typer.Option(help="Most clips of a call.", min=1)] = 32,
    delay: Annotated[float, typer.Option(help="Milliseconds to wait for more clips of the same length.", min=0)] = 2.0,
    queue: Annotated[int, typer.Option(help="Most requests that wait; more are refused.", min=1)] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may wait.", min=0.001)] = 5.0,
) -> None:
    """Write a model repository for NVIDIA's Triton Inference Server: tritonserver --model-repository FOLDER.

    Triton joins requests of equal length only: send clips of one length, or lengths with a file exported with --lengths.

    Example: specgraph triton mel.onnx -o repository --then classifier.onnx
    """
    from specgraph.runtimes.triton import Options, write_repository

    options = Options(max_batch, delay / 1e3, queue, timeout, instances, gpu)
    for folder in write_repository(model, output, name, version, options, then):
        console().print(f"wrote [bold]{escape(str(folder))}[/]", highlight=False)
    console().print(f"next: tritonserver --model-repository {escape(str(output))}", highlight=False)
