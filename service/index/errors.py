"""What can be wrong with what the index is asked.

IsthmusError
├── ConfigError
│   └── InvalidFilter           a filter outside the grammar or its limits; names the place in it (400)
└── ServiceError
    ├── IndexUnavailable        service/errors.py: the back end does not answer (503)
    └── CollectionConflict      the collection is of another make than the request (409)
"""

from connectors.errors import ConfigError
from service.errors import ServiceError


class InvalidFilter(ConfigError):
    """A filter, or a field's name in it, is not one the index can answer."""

    code = "bad_filter"


class CollectionConflict(ServiceError):
    """The collection holds vectors of other dimensions, or of another connector's version."""

    code = "collection_conflict"
