"""What can be wrong with what is asked of a job.

IsthmusError
└── ServiceError
    └── JobConflict     the job is in no state for it, or another one is in the way (409)
"""

from service.errors import ServiceError


class JobConflict(ServiceError):
    """A job cannot be begun, paused, resumed or forgotten as things stand."""

    code = "job_conflict"
