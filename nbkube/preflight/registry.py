"""Whether an image registry answers."""

from __future__ import annotations

import http.client
import ssl

_SECONDS = 5.0


def answers(host: str) -> tuple[str, str]:
    """Ask `/v2/` of HOST[:PORT], by https and then by http; no credentials are sent.

    Returns (scheme, what it said); the scheme is "" if nothing that speaks the protocol answers.
    """
    why = ""
    for scheme in ("https", "http"):
        kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
        connection = kind(host, timeout=_SECONDS)
        try:
            connection.request("GET", "/v2/")
            status = connection.getresponse().status
        except ssl.SSLCertVerificationError as error:
            return "", f"its certificate is not accepted ({error.verify_message})"
        except (OSError, http.client.HTTPException) as error:
            why = why or _reason(error)
            continue
        finally:
            connection.close()
        if status in (200, 401):
            return scheme, "open to all" if status == 200 else "asks for a login"
        why = f"/v2/ answers {status}"
    return "", why


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_SECONDS:.0f} s"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
