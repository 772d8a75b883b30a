"""Jaeger's remote sampling over gRPC, on the address of OTLP/gRPC: Java's sampler and the Collector's extension ask so.

The messages are those of `jaeger.api_v2` in Jaeger's `sampling.proto`, which as JSON are what `strategy` gives.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

SERVICE = "jaeger.api_v2.SamplingManager"
METHOD = "GetSamplingStrategy"
SAMPLED_NAME_MAX = 1_000
_PACKAGE = "jaeger.api_v2"
_STRATEGY_TYPES = ("PROBABILISTIC", "RATE_LIMITING")
_FIELDS = {
    "SamplingStrategyParameters": ("string serviceName",),
    "ProbabilisticSamplingStrategy": ("double samplingRate",),
    "RateLimitingSamplingStrategy": ("int32 maxTracesPerSecond",),
    "OperationSamplingStrategy": ("string operation", "ProbabilisticSamplingStrategy probabilisticSampling"),
    "PerOperationSamplingStrategies": (
        "double defaultSamplingProbability",
        "double defaultLowerBoundTracesPerSecond",
        "repeated OperationSamplingStrategy perOperationStrategies",
        "double defaultUpperBoundTracesPerSecond",
    ),
    "SamplingStrategyResponse": (
        "SamplingStrategyType strategyType",
        "ProbabilisticSamplingStrategy probabilisticSampling",
        "RateLimitingSamplingStrategy rateLimitingSampling",
        "PerOperationSamplingStrategies operationSampling",
    ),
}
"""The messages of `sampling.proto`; the fields of each are numbered from 1 on."""
_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "int32": FieldDescriptorProto.TYPE_INT32,
}
Strategy = Callable[[str], Awaitable[dict[str, Any]]]


def sampling_handler(strategy: Strategy, token: str) -> grpc.GenericRpcHandler:
    """The service that answers with a service's strategy; with a token it is asked for, as of OTLP."""

    async def answered(body: bytes, context: Any) -> bytes:
        sent = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
        if token and not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "send authorization: Bearer with the token")
        asked = PARAMETERS()
        try:
            asked.ParseFromString(body)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a SamplingStrategyParameters message")
        name: str = asked.serviceName  # type: ignore[attr-defined]
        if not 0 < len(name) <= SAMPLED_NAME_MAX:
            wanted = f"serviceName: expected a name of 1 to {SAMPLED_NAME_MAX} characters"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, wanted)
        return ParseDict(await strategy(name), RESPONSE()).SerializeToString()

    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.unary_unary_rpc_method_handler(answered)})


def _messages() -> dict[str, type[Message]]:
    """A class for each message, by its name."""
    file = FileDescriptorProto(name="tocsin/sampling.proto", package=_PACKAGE, syntax="proto3")
    types = file.enum_type.add(name="SamplingStrategyType")
    for number, name in enumerate(_STRATEGY_TYPES):
        types.value.add(name=name, number=number)
    for message, fields in _FIELDS.items():
        described = file.message_type.add(name=message)
        for number, field in enumerate(fields, 1):
            _add_field(described, field, number)
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS}


def _add_field(message: DescriptorProto, written: str, number: int) -> None:
    *repeated, kind, name = written.split()
    label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, json_name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        is_message = kind in _FIELDS
        field.type = FieldDescriptorProto.TYPE_MESSAGE if is_message else FieldDescriptorProto.TYPE_ENUM
        field.type_name = f".{_PACKAGE}.{kind}"


_CLASSES = _messages()
PARAMETERS, RESPONSE = _CLASSES["SamplingStrategyParameters"], _CLASSES["SamplingStrategyResponse"]
