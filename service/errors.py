"""Every error of the service, in one tree; `service/http/error_replies.py` maps each to its status.

IsthmusError (connectors/errors.py)
├── ConfigError (connectors/errors.py)
│   └── InvalidFilter          a filter is outside the grammar or its limits
├── RequestFailed              the client's: a service refused a request
└── ServiceError               a request cannot be answered
    ├── InvalidRequest         it is not what the operation takes
    │   └── MalformedBody      its body is not JSON, or not a form, at all
    ├── NotAcceptable          it asks for a kind of reply that cannot be written
    ├── NotFound               it names something that is not there
    │   └── ModelNotFound      a model, as OpenAI's clients name it
    ├── RequestTooLarge        its body passes the limit
    ├── BodyStalled            the client stopped in the midst of its body
    ├── Overloaded             a queue or a budget is full; says when to try again
    ├── Unavailable            the service is loading or draining
    ├── DeadlineExceeded       it was not done in the time the client gave it
    ├── EncoderFailed          an encoder failed on an item it was given
    ├── IndexUnavailable       the vector index does not answer
    ├── CollectionConflict     a collection is of another make than the request
    ├── MediaStoreUnavailable  the media store does not answer
    ├── ConnectorUnfit         a connector cannot take the place of the one in use
    ├── JobConflict            a job is in no state for it, or another one is in the way
    └── BatchFailed            every item of a batch failed
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.errors import ConfigError, IsthmusError


class ServiceError(IsthmusError):
    """A request cannot be answered. `param` names the part of it that is wrong."""

    code = "service_error"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidRequest(ServiceError):
    """A request is not what the operation takes."""

    code = "invalid_request"


class MalformedBody(InvalidRequest):
    """A request's body is not what its content type says."""

    code = "malformed_body"


class NotAcceptable(ServiceError):
    """A request accepts only a kind of reply that this installation cannot write."""

    code = "not_acceptable"


class NotFound(ServiceError):
    """A request names a point, a collection or a path that is not there."""

    code = "not_found"


class ModelNotFound(NotFound):
    """A request names a model that is not the bundle served."""

    code = "model_not_found"


class RequestTooLarge(ServiceError):
    """A request's body passes the limit; found while it streams in, not after."""

    code = "request_too_large"


class BodyStalled(ServiceError):
    """A client began to send a body and stopped."""

    code = "body_stalled"


class Overloaded(ServiceError):
    """A queue or the budget of bodies is full; a retry is expected to pass in `retry_after` seconds."""

    code = "overloaded"

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ServiceError):
    """The service is loading or draining; another instance, or a later try, may answer."""

    code = "unavailable"
    retry_after = 2


class DeadlineExceeded(ServiceError):
    """A request was not done within its deadline (`X-Request-Timeout`)."""

    code = "deadline_exceeded"


class EncoderFailed(ServiceError):
    """An encoder failed on an item that decoded well. The fault is ours, so the message names no cause."""

    code = "encoder_failed"


class IndexUnavailable(ServiceError):
    """The vector index does not answer, or failed while it did; the request may be tried again."""

    code = "index_unavailable"
    retry_after = 2


class CollectionConflict(ServiceError):
    """A collection holds vectors of other dimensions, or of another connector's version."""

    code = "collection_conflict"


class InvalidFilter(ConfigError):
    """A filter, or a field's name in it, is not one the index can answer; names the place in it."""

    code = "bad_filter"


class JobConflict(ServiceError):
    """A job cannot be begun, paused, resumed or forgotten as things stand."""

    code = "job_conflict"


class MediaStoreUnavailable(ServiceError):
    """The media store does not answer, or failed while it did; the request may be tried again."""

    code = "media_store_unavailable"
    retry_after = 2


class ConnectorUnfit(ServiceError):
    """A connector cannot take the place of the one in use: it does not embed what that one does."""

    code = "connector_unfit"


@dataclass(frozen=True, slots=True)
class ItemError:
    """The error of one item of a batch."""

    index: int
    error: IsthmusError


class BatchFailed(ServiceError):
    """Items of a batch failed, and the request with them: it has the first one's status and lists them all.

    `field` is the request's name for its items.
    """

    code = "batch_failed"

    def __init__(self, items: Sequence[ItemError], field: str = "items") -> None:
        super().__init__(items[0].error.message, f"{field}[{items[0].index}]")
        self.items = list(items)
        self.field = field


class RequestFailed(IsthmusError):
    """A service refused a request of the client's.

    `status`, `body` (the inner object of the error) and `retry_after` (seconds) are its reply's.
    """

    code = "request_failed"

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: int | None = None) -> None:
        super().__init__(f"{status}: {body['message']}")
        self.status = status
        self.body = dict(body)
        self.retry_after = retry_after
