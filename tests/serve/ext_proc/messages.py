"""The messages of Envoy's external processing protocol, as far as they are used.

Names, numbers and types of fields are those of ``envoy/service/ext_proc/v3/external_processor.proto`` and of what it imports (Envoy's API,
Apache-2.0; compared with Envoy 1.40). Fields that are not listed are skipped when read. Version 3 of that API only adds fields.

The published classes, ``xds-protos``, overwrite 91 files of ``opentelemetry-proto`` and ``googleapis-common-protos`` with other versions.
These messages are declared here instead, in a pool of their own, so that they need no generated code and can be loaded beside the others.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: The gRPC method, as ``(service, method)``.
METHOD = ("envoy.service.ext_proc.v3.ExternalProcessor", "Process")

#: Modes of ``ProtocolConfiguration``.
NONE, STREAMED, BUFFERED, BUFFERED_PARTIAL, FULL_DUPLEX_STREAMED = range(5)
#: ``ProcessingMode.response_header_mode``: the answer is not sent.
SKIP = 2
#: ``HeaderValueOption.append_action``: the header gets this value alone.
OVERWRITE = 2

_PACKAGE = "turnout.ext_proc"
#: Fields by message. A type in brackets is repeated, an asterisk is for fields of which only one is set.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "HeaderValue": {"key": (1, "string"), "value": (2, "string"), "raw_value": (3, "bytes")},
    "HeaderMap": {"headers": (1, "[HeaderValue]")},
    "HttpHeaders": {"headers": (1, "HeaderMap"), "end_of_stream": (3, "bool")},
    "HttpBody": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    "HttpTrailers": {"trailers": (1, "HeaderMap")},
    "ProtocolConfiguration": {"request_body_mode": (1, "int32"), "response_body_mode": (2, "int32")},
    "ProcessingRequest": {
        "request_headers": (2, "*HttpHeaders"),
        "response_headers": (3, "*HttpHeaders"),
        "request_body": (4, "*HttpBody"),
        "response_body": (5, "*HttpBody"),
        "request_trailers": (6, "*HttpTrailers"),
        "response_trailers": (7, "*HttpTrailers"),
        "observability_mode": (10, "bool"),
        "protocol_config": (11, "ProtocolConfiguration"),
    },
    "HeaderValueOption": {"header": (1, "HeaderValue"), "append_action": (3, "int32")},
    "HeaderMutation": {"set_headers": (1, "[HeaderValueOption]"), "remove_headers": (2, "[string]")},
    "StreamedBodyResponse": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    "BodyMutation": {
        "body": (1, "*bytes"),
        "clear_body": (2, "*bool"),
        "streamed_response": (3, "*StreamedBodyResponse"),
    },
    "CommonResponse": {
        "header_mutation": (2, "HeaderMutation"),
        "body_mutation": (3, "BodyMutation"),
        "clear_route_cache": (5, "bool"),
    },
    "HeadersResponse": {"response": (1, "CommonResponse")},
    "BodyResponse": {"response": (1, "CommonResponse")},
    "TrailersResponse": {"header_mutation": (1, "HeaderMutation")},
    "ProcessingMode": {
        "response_header_mode": (2, "int32"),
        "request_body_mode": (3, "int32"),
        "response_body_mode": (4, "int32"),
    },
    "ProcessingResponse": {
        "request_headers": (1, "*HeadersResponse"),
        "response_headers": (2, "*HeadersResponse"),
        "request_body": (3, "*BodyResponse"),
        "response_body": (4, "*BodyResponse"),
        "request_trailers": (5, "*TrailersResponse"),
        "response_trailers": (6, "*TrailersResponse"),
        "mode_override": (9, "ProcessingMode"),
    },
}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,  # Enumerations look the same on the wire.
    "string": _Field.TYPE_STRING,
}


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="turnout/ext_proc.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, written) in fields.items():
            kind = written.strip("*[]")
            is_repeated = written.startswith("[")
            field = message.field.add(
                name=field_name,
                number=number,
                label=_Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL,
                type=_SCALARS.get(kind, _Field.TYPE_MESSAGE),
            )
            if kind not in _SCALARS:
                field.type_name = f".{_PACKAGE}.{kind}"
            if written.startswith("*"):
                if not message.oneof_decl:
                    message.oneof_decl.add(name="kind")
                field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


_CLASSES = _classes()
#: What the gateway sends; ``WhichOneof("kind")`` names the part of the HTTP request or answer that it is about.
ProcessingRequest: Any = _CLASSES["ProcessingRequest"]
#: What it is answered.
ProcessingResponse: Any = _CLASSES["ProcessingResponse"]
