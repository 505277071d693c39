"""Errors of the service itself.

IsthmusError (connectors/errors.py)
└── ServiceError
    └── IndexUnavailable     the vector index does not answer
"""

from connectors.errors import IsthmusError


class ServiceError(IsthmusError):
    """A request cannot be answered, for a reason outside the media in it."""

    code = "service_error"


class IndexUnavailable(ServiceError):
    """The vector index does not answer, or failed while it did; the request may be tried again."""

    code = "index_unavailable"
