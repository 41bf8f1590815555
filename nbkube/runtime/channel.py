"""The worker's side of its connection: messages on a private socket, text on standard output and error.

Text and messages travel apart, so nothing that is printed can pose as a message. *Marks* put them back in order: a
mark is written into both text pipes and, where it stands for a message, carries that message's number. A mark holds a
secret that the parent chose for this attempt.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import socket
import sys
import threading
import time
from typing import Any

from nbkube.runtime.kernel import flush_c_output

MARK = b"\x1e"
"""First and last byte of a mark in a text pipe; between them the secret, `E` (with message) or `S`, the number."""


_PATIENCE = 0.2
"""Seconds that text without an end of line may wait while more is written."""


class Channel:
    """Sends messages and marks; without a connection, as in a forked child of the worker, it only prints."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection: socket.socket
        self._lines: Any
        self._lock = threading.RLock()
        self._secret = b""
        self._count = 0
        self._pipes: tuple[int, ...] = ()
        self._streams: tuple[TextStream, ...] = ()
        self._last: TextStream | None = None
        self.live = False
        if connection is not None:
            self.connect(connection)

    def connect(self, connection: socket.socket) -> None:
        """Speak to a parent from now on, and print to where descriptors 1 and 2 lead now."""
        self._connection = connection
        self._lines = connection.makefile("rb")
        self.live = True

    def receive(self) -> dict[str, Any] | None:
        """Wait for the parent's next message; None once the parent has closed the connection."""
        line = self._lines.readline()
        message: dict[str, Any] | None = json.loads(line) if line else None
        return message

    def fileno(self) -> int:
        """Return the socket's descriptor, to wait for a message in an event loop."""
        return self._connection.fileno()

    def mark_with(self, secret: str) -> None:
        """Begin to mark."""
        self._secret = secret.encode()
        # Duplicates of our own: the cells may redirect or close descriptors 1 and 2.
        self._pipes = (os.dup(1), os.dup(2))

    def take_over_output(self) -> None:
        """Replace the process's text streams by ones that keep the order; once per process and its children."""
        out, err = TextStream(self, 1, "<stdout>"), TextStream(self, 2, "<stderr>")
        self._streams = (out, err)
        for name, stream in (("stdout", out), ("stderr", err)):
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        os.register_at_fork(before=self.flush, after_in_child=self._leave)

    def send(self, message: dict[str, Any]) -> None:
        """Send a message whose place in the text does not matter."""
        if self.live:
            data = json.dumps(message, default=str).encode() + b"\n"
            with self._lock:
                self._write_socket(data)

    def place(self, message: dict[str, Any]) -> None:
        """Send a message that belongs behind all text written so far and before all that follows."""
        with self._lock:
            self.flush()
            if self.live:
                self._count += 1
                self._write_socket(json.dumps({**message, "mark": self._count}, default=str).encode() + b"\n")
                self._write_mark(b"E")

    def flush(self) -> None:
        """Write out the text that the streams hold."""
        for stream in self._streams:
            # A cell may have closed or detached a stream.
            with contextlib.suppress(ValueError, OSError):
                stream.flush()

    def flush_all(self) -> None:
        """Write out the text that the streams and the C library hold."""
        self.flush()
        flush_c_output()

    def writing(self, stream: TextStream) -> None:
        """Note that text goes to a stream: what the other one got before must stay before it."""
        if stream is not self._last:
            with self._lock:
                if self._last is not None and self.live:
                    self.flush()
                    self._count += 1
                    self._write_mark(b"S")
                self._last = stream

    def _leave(self) -> None:
        """Cut a forked child off: what it prints is text like any other."""
        self._lock = threading.RLock()
        self._last = None
        if self.live:
            self.live = False
            self._connection.close()

    def _write_socket(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError:
            # The attempt is gone; the watcher is about to end this process.
            os._exit(1)

    def _write_mark(self, kind: bytes) -> None:
        mark = MARK + self._secret + kind + str(self._count).encode() + MARK
        for pipe in self._pipes:
            _write(pipe, mark)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            # Somebody has made the pipe non-blocking, as asyncio does when it writes to standard output.
            select.select([], [descriptor], [])
        except OSError:
            os._exit(1)


class TextStream(io.TextIOWrapper):
    """Standard output or error of the step, written line by line."""

    def __init__(self, channel: Channel, descriptor: int, name: str) -> None:
        raw = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._channel = channel
        self._name = name
        self._waiting: float | None = None  # since when text without an end of line has been held

    @property
    def name(self) -> str:
        """Return the stream's usual name."""
        return self._name

    def write(self, text: str, /) -> int:
        """Write text behind everything printed so far, whatever stream it went to."""
        self._channel.writing(self)
        if self._waiting is not None and time.monotonic() > self._waiting + _PATIENCE:
            # Progress that is printed without an end of line is to be seen, too.
            self.flush()
            self._waiting = None
        written = super().write(text)
        if text.endswith("\n"):
            self._waiting = None
        elif self._waiting is None:
            self._waiting = time.monotonic()
        return written
