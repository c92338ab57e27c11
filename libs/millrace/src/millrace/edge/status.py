"""Which gRPC status an error becomes, and its details in `grpc-status-details-bin`.

Used by `edge.errors` to answer and by `edge.client` to read. Source: AIP-193 and google/rpc/error_details.proto.
"""

from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]

from millrace import errors

DETAILS = "grpc-status-details-bin"
INTERNAL_TEXT = "internal error"
_CODES: tuple[tuple[type[errors.MillraceError], grpc.StatusCode], ...] = (
    (errors.Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.TransientError, grpc.StatusCode.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class Status:
    """What a caller is told: code, text, and trailing metadata with the details."""

    code: grpc.StatusCode
    text: str
    trailers: tuple[tuple[str, bytes], ...] = ()


def status_of(error: BaseException, retry_seconds: float = 1.0) -> Status:
    """Return the status of an error; what is no refusal by intent becomes INTERNAL and keeps its text to itself."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return _with_details(code, str(error), _details(error, retry_seconds))
    return Status(grpc.StatusCode.INTERNAL, INTERNAL_TEXT)


def _details(error: errors.MillraceError, retry_seconds: float) -> Protobuf | None:
    if isinstance(error, errors.Invalid):
        violation = error_details_pb2.BadRequest.FieldViolation
        refused: Protobuf = error_details_pb2.BadRequest(
            field_violations=[violation(field=v.field, description=v.description) for v in error.violations]
        )
        return refused
    if isinstance(error, errors.TransientError):
        delay = duration_pb2.Duration(nanos=int(retry_seconds % 1 * 1e9), seconds=int(retry_seconds))
        retry: Protobuf = error_details_pb2.RetryInfo(retry_delay=delay)
        return retry
    return None


def _with_details(code: grpc.StatusCode, text: str, details: Protobuf | None) -> Status:
    if details is None:
        return Status(code, text)
    packed = any_pb2.Any()
    packed.Pack(details)
    number = code_pb2.Code.Value(code.name)
    return Status(code, text, ((DETAILS, status_pb2.Status(code=number, message=text, details=[packed]).SerializeToString()),))


def violations_of(error: grpc.RpcError) -> tuple[errors.FieldViolation, ...]:
    """Return the field violations a status carries, in its order; empty if there are none or they cannot be read."""
    trailers = error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    status, refused = status_pb2.Status(), error_details_pb2.BadRequest()
    try:
        status.ParseFromString(next((value for name, value in trailers or () if name == DETAILS), b""))
        if not any(packed.Unpack(refused) for packed in status.details):
            return ()
    except DecodeError:
        return ()
    return tuple(errors.FieldViolation(v.field, v.description) for v in refused.field_violations)
