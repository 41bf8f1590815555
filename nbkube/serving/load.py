"""An open-loop latency test: requests leave at their times, whether earlier ones have been answered or not.

A closed loop hides what slow answers cost: its clients wait instead of sending (Schroeder et al., NSDI 2006; what Gil
Tene calls coordinated omission). Latency is counted from the moment a request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from nbkube.serving.connection import Connection

_CONNECTIONS = 256
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_BARS = "▁▂▃▄▅▆▇█"


class Measured(msgspec.Struct, frozen=True):
    """What came of a test: latencies in seconds, statuses ("failed" for no answer at all), versions that answered."""

    rate: float
    seconds: float
    sent: int
    answered: int
    failed: int
    retried: int
    statuses: dict[str, int]
    versions: dict[str, int]
    percentiles: dict[str, float]
    worst: tuple[float, ...]

    @property
    def plot(self) -> str:
        """The slowest answer of each part of the test, as a line of blocks."""
        top = max(self.worst, default=0.0) or 1.0
        return "".join(_BARS[min(int(one / top * 7.99), 7)] for one in self.worst)


class Answer(msgspec.Struct):
    """One answer of a test: when it was due and how long it took, in seconds; status 0 for none. `started` is when the
    try that was answered began, `ended` when the answer was there, both by the monotonic clock."""

    due: float
    seconds: float
    status: int
    version: str
    started: float
    retries: int = 0
    body: bytes = b""
    ended: float = 0.0


def request_of(url: str, body: bytes, token: str = "", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return a POST request as it goes over the wire."""
    parts = urlsplit(url)
    lines = [
        f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json",
        f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers),
    ]  # fmt: skip
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class OpenLoop:
    """Sends requests at their times to one server.

    A connection that is refused or breaks, and a 503, are tried again a few times: what a client of a service does.
    """

    def __init__(self, url: str, make: Callable[[int], bytes], *, keep: bool = False) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._make = make
        self._keep = keep
        self._free: list[Connection] = []
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self.answers: list[Answer] = []

    async def run(self, rate: float, seconds: float) -> None:
        """Send for so long."""
        begin = time.perf_counter()
        tasks: list[asyncio.Task[None]] = []
        for number in range(int(rate * seconds)):
            due = begin + number / rate
            delay = due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(asyncio.create_task(self._one(number, due, begin)))
        await asyncio.gather(*tasks)
        for one in self._free:
            one.close()

    async def _one(self, number: int, due: float, begin: float) -> None:
        request = self._make(number)
        status, version, body, retries = 0, "", b"", 0
        async with self._slots:
            started = time.perf_counter()
            for pause in (*_PAUSES, None):
                connection = self._free.pop() if self._free else Connection(self._host, self._port)
                try:
                    status, headers, body = await connection.send(request)
                    version = headers.get("nbkube-model-version", "")
                    self._free.append(connection)
                except (OSError, EOFError):
                    status = 0
                if status not in (0, 503) or pause is None:
                    break
                retries += 1
                await asyncio.sleep(pause)
                started = time.perf_counter()
        ended = time.perf_counter()
        kept = body if self._keep else b""
        self.answers.append(Answer(due - begin, ended - due, status, version, started, retries, kept, ended))


def measure(url: str, body: bytes, *, rate: float, seconds: float, token: str = "") -> Measured:
    """Send one request again and again at a steady rate."""
    request = request_of(url, body, token)

    async def run() -> list[Answer]:
        loop = OpenLoop(url, lambda _: request)
        await loop.run(rate, seconds)
        return loop.answers

    return summary(asyncio.run(run()), rate, seconds)


def summary(answers: Sequence[Answer], rate: float, seconds: float) -> Measured:
    """Return what came of a test."""
    good = sorted(one.seconds for one in answers if one.status == 200)
    parts = 60
    worst = [0.0] * parts
    for one in answers:
        part = min(int(one.due / seconds * parts), parts - 1)
        worst[part] = max(worst[part], one.seconds)
    last = max((one.due + one.seconds for one in answers), default=0.0)
    return Measured(
        rate=len(answers) / max(last, seconds),
        seconds=seconds,
        sent=len(answers),
        answered=len(good),
        failed=len(answers) - len(good),
        retried=sum(1 for one in answers if one.retries),
        statuses=dict(Counter(str(one.status) if one.status else "failed" for one in answers)),
        versions=dict(Counter(one.version for one in answers if one.version)),
        percentiles={
            f"p{share:g}": good[min(int(len(good) * share / 100), len(good) - 1)] if good else 0.0
            for share in (50, 90, 95, 99, 99.9)
        },
        worst=tuple(worst),
    )
