"""What a step prints and shows, put in order: text from two pipes and messages become cells with outputs and a log."""

from __future__ import annotations

import codecs
import json
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from nbkube.runtime.channel import MARK
from nbkube.runtime.program import CellProgram

StreamName = Literal["stdout", "stderr"]
Output = dict[str, Any]

_LONGEST = 4 << 20
"""Bytes of text kept per cell in the executed notebook; the log has all of it."""


class _Pipe:
    """One text pipe taken apart: text and marks in the order of writing."""

    def __init__(self, name: StreamName) -> None:
        self.name = name
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.items: deque[str | tuple[str, int]] = deque()
        self.held = b""
        self.ended = False

    def feed(self, data: bytes, secret: bytes) -> None:
        opening = MARK + secret
        data = self.held + data
        self.held = b""
        start = 0
        while (at := data.find(MARK, start)) >= 0:
            end = data.find(MARK, at + 1)
            body = data[at:end] if end >= 0 else data[at:]
            if end >= 0 and secret and body.startswith(opening):
                self._text(data[:at])
                self.items.append((chr(body[len(opening)]), int(body[len(opening) + 1 :])))
                data, start = data[end + 1 :], 0
            elif end < 0 and secret and (opening.startswith(body) or (body.startswith(opening) and len(body) < 80)):
                self.held, data = body, data[:at]
                break
            else:
                start = at + 1
        self._text(data)

    def _text(self, data: bytes) -> None:
        if text := self.decoder.decode(data):
            self.items.append(text)


class Transcript:
    """Collects everything a step shows.

    Args:
        on_event: receives "cell", "log" and "output" events as they become known.
    """

    def __init__(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._on_event = on_event
        # Without a name: no cell can remove it, and it is gone with this process.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `discard`
        self._secret = b""
        self._pipes = {"stdout": _Pipe("stdout"), "stderr": _Pipe("stderr")}
        self._messages: dict[int, dict[str, Any]] = {}
        self._cells: dict[int, dict[str, Any]] = {}
        self._sizes: dict[int, int] = {}
        self._shown: dict[str, list[Output]] = {}
        self._clear_next: set[int] = set()
        self._quiet = False
        self.cell: CellProgram | None = None
        """The cell that runs or ran last."""
        self.passed: deque[dict[str, Any]] = deque()
        """Messages that are not about outputs, once all text before them is in."""

    def begin(self, secret: str) -> None:
        """Learn the secret of the marks to come."""
        self._secret = secret.encode()

    def expect(self, cells: Sequence[CellProgram]) -> None:
        """Add cells that are going to run."""
        for cell in cells:
            self._cells[cell.number] = {
                "cell_type": "code",
                "id": cell.id or f"cell-{cell.number}",
                "execution_count": None,
                "metadata": {"nbkube": {"cell": cell.number}},
                "outputs": [],
                "source": cell.source,
                "program": cell,
            }

    def text(self, stream: StreamName, data: bytes) -> None:
        """Take bytes read from a pipe; none means that it has ended."""
        pipe = self._pipes[stream]
        if data:
            pipe.feed(data, self._secret)
        else:
            pipe.ended = True
            if pipe.held:
                pipe.items.append(pipe.decoder.decode(pipe.held))
                pipe.held = b""
        self._advance()

    def message(self, message: dict[str, Any]) -> None:
        """Take a message that has a place in the text."""
        self._messages[message["mark"]] = message
        self._advance()

    def say(self, text: str, stream: StreamName = "stderr") -> None:
        """Add a line of our own to the log."""
        self._log.write(text.encode())
        self._on_event({"event": "log", "stream": stream, "text": text, "cell": None})

    def restart(self) -> None:
        """Begin with the pipes of another process, before the first has shown anything."""
        self._pipes = {"stdout": _Pipe("stdout"), "stderr": _Pipe("stderr")}

    def mute(self) -> None:
        """Tell the listener nothing more."""
        self._on_event = lambda _: None

    def close(self) -> None:
        """Take what is left, whatever is missing."""
        for pipe in self._pipes.values():
            pipe.ended = True
        self._advance()

    def log(self) -> Iterator[bytes]:
        """Yield all text, in the order in which it came."""
        self._log.seek(0)
        while chunk := self._log.read(1 << 20):
            yield chunk

    def discard(self) -> None:
        """Let go of the log."""
        self._log.close()

    def notebook(self) -> bytes:
        """Return the cells with their outputs as a notebook file of format 4.5."""
        cells = []
        for cell in self._cells.values():
            outputs = [_joined(output) for output in cell["outputs"]]
            cells.append({**{key: value for key, value in cell.items() if key != "program"}, "outputs": outputs})
        metadata = {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
        document = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        try:
            return msgspec.json.format(msgspec.json.encode(document), indent=1)
        except UnicodeEncodeError:
            return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")

    # -- putting in order ------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Pass on all text up to the next mark that not both pipes have reached, again and again."""
        while True:
            heads = []
            for pipe in self._pipes.values():
                while pipe.items and isinstance(pipe.items[0], str):
                    self._text(pipe.name, str(pipe.items.popleft()))
                if pipe.items:
                    heads.append(pipe.items[0])
                elif not pipe.ended:
                    return
            if not heads:
                # Both pipes have ended; messages whose mark never came are all that is left.
                for number in sorted(self._messages):
                    self._apply(self._messages.pop(number))
                return
            kind, number = min((head for head in heads if isinstance(head, tuple)), key=lambda head: head[1])
            if kind == "E":
                if number not in self._messages:
                    return
                self._apply(self._messages.pop(number))
            for pipe in self._pipes.values():
                if pipe.items and pipe.items[0] == (kind, number):
                    pipe.items.popleft()

    def _apply(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "cell":
            self._cell_event(message)
        elif event == "replay":
            self._quiet = message["state"] == "started"
        elif event in ("executed", "result"):
            self.passed.append(message)
        elif self.cell is None or self._quiet:
            return
        elif event == "output":
            self._output(message["output"], message.get("id"))
        elif event == "update":
            self._update(message["output"], message["id"])
        elif event == "clear":
            if message["wait"]:
                self._clear_next.add(self.cell.number)
            else:
                self._cells[self.cell.number]["outputs"].clear()

    def _cell_event(self, message: dict[str, Any]) -> None:
        cell = self._cells[message["cell"]]
        now = datetime.now(UTC).isoformat()
        if message["state"] == "started":
            self.cell = cell["program"]
            cell["execution_count"] = cell["program"].code_number
            cell["metadata"]["execution"] = {"iopub.execute_input": now, "iopub.status.busy": now}
        else:
            cell["metadata"]["execution"]["iopub.status.idle"] = now
            cell["metadata"]["execution"]["shell.execute_reply"] = now
            cell["metadata"]["nbkube"]["seconds"] = message["seconds"]
        self._on_event({key: value for key, value in message.items() if key != "mark"})

    def _text(self, stream: StreamName, text: str) -> None:
        if self._quiet:
            return
        self._log.write(text.encode("utf-8", "backslashreplace"))
        number = self.cell.number if self.cell is not None else None
        self._on_event({"event": "log", "stream": stream, "text": text, "cell": number})
        if number is None:
            return
        outputs = self._outputs(number)
        size = self._sizes.get(number, 0)
        self._sizes[number] = size + len(text)
        if size > _LONGEST:
            return
        if size + len(text) > _LONGEST:
            text = text[: _LONGEST - size] + "\n[more in the step's log]\n"
        if outputs and outputs[-1]["output_type"] == "stream" and outputs[-1]["name"] == stream:
            outputs[-1]["text"].append(text)
        else:
            outputs.append({"output_type": "stream", "name": stream, "text": [text]})

    def _output(self, output: Output, display: str | None) -> None:
        assert self.cell is not None
        self._outputs(self.cell.number).append(output)
        if display is not None:
            # A second display with the same id also refreshes the first, as in Jupyter.
            self._refresh(display, output)
            self._shown.setdefault(display, []).append(output)
        self._on_event({"event": "output", "cell": self.cell.number, "output": output})

    def _update(self, output: Output, display: str) -> None:
        self._refresh(display, output)
        number = self.cell.number if self.cell is not None else None
        self._on_event({"event": "output", "cell": number, "output": output, "update": display})

    def _refresh(self, display: str, output: Output) -> None:
        for earlier in self._shown.get(display, ()):
            earlier["data"], earlier["metadata"] = output["data"], output["metadata"]

    def _outputs(self, number: int) -> list[Output]:
        outputs: list[Output] = self._cells[number]["outputs"]
        if number in self._clear_next:
            self._clear_next.discard(number)
            outputs.clear()
        return outputs


def _joined(output: Output) -> Output:
    if output["output_type"] == "stream":
        return {**output, "text": "".join(output["text"])}
    return output
