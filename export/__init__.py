"""ONNX files from graphs: written, verified, read back."""

from specgraph.export.attachment import attach as attach
from specgraph.export.read import read_graph as read_graph
from specgraph.export.report import Check as Check
from specgraph.export.report import Report as Report
from specgraph.export.verification import VerificationError as VerificationError
from specgraph.export.verification import verify as verify
from specgraph.export.write import to_onnx as to_onnx
