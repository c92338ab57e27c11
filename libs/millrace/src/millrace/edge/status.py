"""Which gRPC status an error becomes, and its details in `grpc-status-details-bin`.

Used by `edge.errors` to answer and by `edge.client` to read. Source: AIP-193 and google/rpc/error_details.proto.
"""

from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message as Protobuf
from google.rpc import code_pb2, error_details_pb2, status_pb2

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
        found = [violation(field=v.field, description=v.description) for v in error.violations]
        return error_details_pb2.BadRequest(field_violations=found)
    if isinstance(error, errors.TransientError):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(retry_seconds * 1000))
        return retry
    return None


def _with_details(code: grpc.StatusCode, text: str, details: Protobuf | None) -> Status:
    if details is None:
        return Status(code, text)
    packed = any_pb2.Any()
    packed.Pack(details)
    number = code_pb2.Code.Value(code.name)
    return Status(code, text, ((DETAILS, status_pb2.Status(code=number, message=text, details=[packed]).SerializeToString()),))


def details_of(error: grpc.RpcError, kind: type[Protobuf]) -> Protobuf | None:
    """Return the first detail of a kind that a status carries, None if there is none or it cannot be read."""
    trailers = error.trailing_metadata() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None
    for name, value in trailers or ():
        if name != DETAILS or not isinstance(value, bytes):
            continue
        status = status_pb2.Status()
        try:
            status.ParseFromString(value)
            for packed in status.details:
                found = kind()
                if packed.Unpack(found):
                    return found
        except ValueError:
            return None
    return None
