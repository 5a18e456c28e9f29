"""Where a file runs: onnxruntime on a CPU or CUDA, or torch. Imports neither torch nor onnx."""

from specgraph.runtimes.base import Runner as Runner
from specgraph.runtimes.base import RuntimeUnavailable as RuntimeUnavailable
from specgraph.runtimes.loading import load as load
