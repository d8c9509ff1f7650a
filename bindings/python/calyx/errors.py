"""What calyx raises.

The class says what to do next; ``reason`` is the one word that the C++ headers, the wire and C use for what
happened; ``details`` holds the numbers.

>>> try:
...     agent.spend("job-442", 6)
... except calyx.Refused as no:
...     print(no.reason, no.details["room"])
spend_cap_per_job 5.00
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Conflict",
    "Corrupt",
    "Error",
    "Internal",
    "Invalid",
    "NotFound",
    "OutcomeUnknown",
    "Refused",
    "Stopped",
    "Unavailable",
    "Unsupported",
]


class Error(Exception):
    """A call that gave no value. The subclasses are all there are; catch this one for any of them.

    ``status`` is the word for what to do next, ``reason`` the word for what happened, ``message`` one line
    with the numbers in it (its text also names the field at fault), ``details`` a dictionary of those numbers (amounts are ``Flops``).
    """

    status: str = "internal"
    reason: str
    message: str
    details: dict[str, Any]

    def __init__(self, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason, message, details)
        self.reason = reason
        self.message = message
        self.details = {} if details is None else details

    def __str__(self) -> str:
        field = self.details.get("field")
        return f"{self.reason}: {field}: {self.message}" if field else f"{self.reason}: {self.message}"


class Invalid(Error, ValueError):
    """The request must be mended: it can never pass as it is."""

    status = "invalid"


class NotFound(Error, LookupError):
    """There is no such thing, or it is not yours to see."""

    status = "not_found"


class Conflict(Error):
    """Something else stands already: read again, then decide again."""

    status = "conflict"


class Refused(Error):
    """Funds, policy or rights said no: change the terms."""

    status = "refused"


class Unavailable(Error):
    """Not now, and nothing was written: make the same call later."""

    status = "unavailable"


class Stopped(Error):
    """A callback asked to stop."""

    status = "stopped"


class Unsupported(Error):
    """This build or version cannot: use another."""

    status = "unsupported"


class Corrupt(Error):
    """The file is damaged: stop, keep it, call a person."""

    status = "corrupt"


class Internal(Error):
    """A defect in calyx: report it."""

    status = "internal"


class OutcomeUnknown(Error):
    """The call may stand or not: repeat it with the same key (``job_id``, ``idempotency_key``) to learn."""

    status = "unknown"


_by_status: dict[str, type[Error]] = {
    kind.status: kind
    for kind in (
        Invalid,
        NotFound,
        Conflict,
        Refused,
        Unavailable,
        Stopped,
        Unsupported,
        Corrupt,
        Internal,
        OutcomeUnknown,
    )
}


def of(status: str, reason: str, message: str, details: dict[str, Any] | None) -> Error:
    """The exception for an error of the engine. The native module calls this, and nothing else does."""
    return _by_status.get(status, Error)(reason, message, details)
