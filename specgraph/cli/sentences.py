"""What went wrong, as one sentence for who typed the command."""

from __future__ import annotations

import re
import sys
from typing import Any

from specgraph.outside_text import printable

PACKAGES = {"yaml": "PyYAML", "grpc": "grpcio", "google": "protobuf", "prometheus_client": "prometheus-client"}  # by module, where names differ
OURS = (ValueError, TypeError, OSError, ImportError)
ORT = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def sentence(error: Exception) -> str:
    """The error in one line, which says what was wrong and what to do."""
    return printable(" ".join(_text(error).splitlines()))


def _text(error: Exception) -> str:
    text = str(error)
    if hasattr(error, "format_message"):
        return _usage(error)
    if isinstance(error, ModuleNotFoundError) and error.name and text.startswith("No module named"):
        module = error.name.partition(".")[0]
        return f"this needs {module}, which is not installed: pip install {PACKAGES.get(module, module)}"
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        reason = error.strerror[:1].lower() + error.strerror[1:]
        files = [str(file) for file in (error.filename, error.filename2) if file is not None]
        return f"{' and '.join(files)}: {reason}" if files else f"the system said: {reason}"
    if isinstance(error, UnicodeError):
        return f"a name or a text is not what its encoding allows ({error})"
    if isinstance(error, MemoryError):
        return "there is not enough memory; give fewer or shorter files at once"
    if type(error).__module__.startswith("onnxruntime"):
        return f"onnxruntime refuses this file: {ORT.sub('', text)}"
    if isinstance(error, OURS) or any(cls.__name__ == "RuntimeUnavailable" for cls in type(error).__mro__):
        return text or type(error).__name__
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"{what}; that is a fault of specgraph: SPECGRAPH_TRACEBACK=1 shows where, please report it"


def _usage(error: Any) -> str:
    """A wrong command line, in typer's words but where it does not know what was meant."""
    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "specgraph"
    option = getattr(error, "option_name", "")
    name = option.lstrip("-").replace("-", "_")
    takes_set = context is not None and any("--set" in parameter.opts for parameter in context.command.params)
    if option and takes_set and _is_parameter(name):
        from specgraph.transforms.parse import OTHER_NAMES

        return f"there is no option {option}; parameters are set by --set {OTHER_NAMES.get(name, name)}={_value_after(option)}"
    if text.startswith("No such command 'version'"):
        return "there is no command 'version'; use specgraph --version"
    return f"{text[:1].lower()}{text[1:]}; see {path} --help"


def _is_parameter(name: str) -> bool:
    """Whether a transform has a parameter of this name, or one that other libraries call so."""
    from specgraph.transforms import registry
    from specgraph.transforms.parse import OTHER_NAMES

    return name in OTHER_NAMES or any(name in (parameter.name for parameter in cls.parameters()) for cls in registry().values())


def _value_after(option: str) -> str:
    """What was given for the option on the command line."""
    for place, argument in enumerate(sys.argv):
        if argument == option:
            return sys.argv[place + 1] if place + 1 < len(sys.argv) else "VALUE"
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
    return "VALUE"
