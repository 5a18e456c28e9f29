"""The messages of the Open Inference Protocol V2 over gRPC, made from its published field numbers.

Source: the protocol's specification (kserve.github.io, "Open Inference Protocol V2", service ``inference.GRPCInferenceService``).
They live in a pool of their own, so that a client's generated messages of the same names can be imported beside them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_KINDS = {
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint32": descriptor_pb2.FieldDescriptorProto.TYPE_UINT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}

# By message: "field kind", numbered from 1. A "*" marks a repeated field, "map" a map from string to InferParameter.
_MESSAGES: dict[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("live bool",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("ready bool",),
    "ModelReadyRequest": ("name string", "version string"),
    "ModelReadyResponse": ("ready bool",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("name string", "version string", "extensions string*"),
    "ModelMetadataRequest": ("name string", "version string"),
    "ModelMetadataResponse": (
        "name string", "versions string*", "platform string", "inputs ModelMetadataResponse.TensorMetadata*",
        "outputs ModelMetadataResponse.TensorMetadata*",
    ),
    "ModelMetadataResponse.TensorMetadata": ("name string", "datatype string", "shape int64*"),
    "InferParameter": ("bool_param bool", "int64_param int64", "string_param string", "double_param double", "uint64_param uint64"),
    "InferTensorContents": (
        "bool_contents bool*", "int_contents int32*", "int64_contents int64*", "uint_contents uint32*", "uint64_contents uint64*",
        "fp32_contents float*", "fp64_contents double*", "bytes_contents bytes*",
    ),
    "ModelInferRequest": (
        "model_name string", "model_version string", "id string", "parameters map", "inputs ModelInferRequest.InferInputTensor*",
        "outputs ModelInferRequest.InferRequestedOutputTensor*", "raw_input_contents bytes*",
    ),
    "ModelInferRequest.InferInputTensor": (
        "name string", "datatype string", "shape int64*", "parameters map", "contents InferTensorContents",
    ),
    "ModelInferRequest.InferRequestedOutputTensor": ("name string", "parameters map"),
    "ModelInferResponse": (
        "model_name string", "model_version string", "id string", "parameters map", "outputs ModelInferResponse.InferOutputTensor*",
        "raw_output_contents bytes*",
    ),
    "ModelInferResponse.InferOutputTensor": (
        "name string", "datatype string", "shape int64*", "parameters map", "contents InferTensorContents",
    ),
}  # fmt: skip
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="specgraph/open_inference.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in _MESSAGES.items():
        parent, _, name = path.rpartition(".")
        message = made[parent].nested_type.add(name=name) if parent else file.message_type.add(name=name)
        made[path] = message
        if path == "InferParameter":
            message.oneof_decl.add(name="parameter_choice")
        for number, field in enumerate(fields, 1):
            _add_field(message, path, number, field)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, path: str, number: int, text: str) -> None:
    name, kind = text.split()
    field = message.field.add(name=name, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.endswith("*") or kind == "map":
        field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    kind = kind.removesuffix("*")
    if kind in _KINDS:
        field.type = _KINDS[kind]
    else:
        field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{path}.ParametersEntry" if kind == "map" else f".{PACKAGE}.{kind}"
    if kind == "map":
        entry = message.nested_type.add(name="ParametersEntry")
        entry.options.map_entry = True
        for at, part in enumerate(("key string", "value InferParameter"), 1):
            _add_field(entry, f"{path}.ParametersEntry", at, part)
    if path == "InferParameter":
        field.oneof_index = 0


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file())


def message(name: str) -> Any:
    """The class of a message by its name, such as ``ModelInferRequest``."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
