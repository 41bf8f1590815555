"""What goes wrong with a request, as a status and a sentence."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is not answered; `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class OverloadError(RequestError):
    """More is waiting than the limits allow."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503)
