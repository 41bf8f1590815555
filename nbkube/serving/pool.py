"""The workers of one version: started, kept alive, given what waits, joined into batches.

A batch is what is waiting when a worker becomes free: nothing waits for others to come. A worker that dies is replaced
and what it had in hand goes back to the front of the queue; an example with which workers die again and again is given
up. What one example of a batch does wrong is not the others' fault: they are predicted again one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from nbkube.models.model import ModelVersion
from nbkube.models.tensors import Array
from nbkube.serving.faults import OverloadError, RequestError
from nbkube.serving.frames import Done, Job, frame, pack, unpack
from nbkube.serving.link import Link
from nbkube.serving.model import ServerTask
from nbkube.serving.spawn import Spawned, spawn

_DEATHS = 3
_PAUSE = 0.5
START_SECONDS = 120.0


class StartError(Exception):
    """No worker could load the model; the message says why."""


class _Waiting(msgspec.Struct):
    inputs: dict[str, Array]
    wanted: tuple[str, ...]
    rows: int
    kind: tuple[object, ...]
    answer: asyncio.Future[dict[str, Array]]
    alone: bool = False
    deaths: int = 0


class Pool:
    """The worker processes of one version.

    Args:
        task: what the server was started with.
        version: what is served.
        restarted: is called when a worker that had been ready is replaced.
        first: a worker that has been started for this version already.
    """

    def __init__(
        self,
        task: ServerTask,
        version: ModelVersion,
        restarted: Callable[[], None] = lambda: None,
        first: Spawned | None = None,
    ) -> None:
        self.version = version
        self._task = task
        self._limits = task.limits
        self._restarted = restarted
        self._first = first
        self._queue: deque[_Waiting] = deque()
        self._idle: list[_Worker] = []
        self._due = False
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Future[None] | None = None
        self._busy = 0
        self._closing = False
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait or are being predicted."""
        return len(self._queue) + self._busy

    async def start(self) -> None:
        """Start the workers; returns when one has answered the version's example, the others follow.

        Raises:
            StartError: the model cannot be loaded.
        """
        self._ready = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._keep()) for _ in range(self._task.workers)]
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), START_SECONDS)
        except BaseException as error:
            await self.close()
            if isinstance(error, TimeoutError):
                raise StartError(f"no worker was ready after {START_SECONDS:g} s") from None
            raise

    async def close(self) -> None:
        """End the workers; what still waits is refused."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for one in self._queue:
            _refuse(one, OverloadError("the server is going away. Try again."))
        self._queue.clear()

    async def predict(self, inputs: dict[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        """Return the outputs for some examples.

        Raises:
            OverloadError: the pool is being closed.
            RequestError: the model does not take the input, or takes too long.
        """
        batched = self.version.signature.batched
        rows = min(len(one) for one in inputs.values()) if batched else 1
        # Only what has the same shapes but for the number of examples is joined.
        kind = (wanted, *((name, one.shape[1:]) for name, one in inputs.items()))
        loop = asyncio.get_running_loop()
        one = _Waiting(inputs, wanted, rows, kind, loop.create_future(), alone=not batched)
        self._queue.append(one)
        self._soon()
        limit = loop.call_later(self._limits.seconds, self._expire, one)
        try:
            return await one.answer
        finally:
            limit.cancel()

    def _expire(self, one: _Waiting) -> None:
        _refuse(one, RequestError(f"the model has not answered within {self._limits.seconds:g} s.", 504))

    # -- one worker ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Keep one worker running."""
        failures = 0
        while not self._closing:
            begun = time.monotonic()
            try:
                await self._work()
                failures = 0
                self._restarted()
            except StartError as error:
                failures += 1
                if self._ready is not None and not self._ready.done():
                    self._ready.set_exception(error)
                    return
            # One that dies at once is not started over and over without a pause.
            if failures or time.monotonic() - begun < _PAUSE:
                await asyncio.sleep(min(_PAUSE * 2**failures, 30.0))

    async def _work(self) -> None:
        """Start a worker; return when it has ended."""
        spawned, self._first = self._first or spawn(self._task, self.version.version), None
        process = spawned.process
        self.processes[process.pid] = process
        worker = _Worker(self)
        try:
            await asyncio.get_running_loop().create_connection(lambda: worker.link, sock=spawned.connection)
            await self._greet(worker)
            await worker.gone
        finally:
            self._idle = [one for one in self._idle if one is not worker]
            worker.link.close()
            worker.give_up()
            del self.processes[process.pid]
            process.kill()
            await asyncio.to_thread(process.wait)

    async def _greet(self, worker: _Worker) -> None:
        """Wait until a worker has loaded the model."""
        try:
            async with asyncio.timeout(START_SECONDS):
                waiting: set[asyncio.Future[Any]] = {worker.greeting, worker.gone}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise StartError(f"the worker was not ready after {START_SECONDS:g} s") from None
        if not worker.greeting.done():
            raise StartError("the worker ended while it loaded the model; its log says more")
        first = worker.greeting.result()
        if not first.ready:
            raise StartError(first.fault)
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self.idle(worker)

    # -- what waits, and who predicts it ---------------------------------------------------------------------------

    def idle(self, worker: _Worker) -> None:
        """Take note that a worker can have the next batch."""
        self._idle.append(worker)
        self._hand_out()

    def _soon(self) -> None:
        """Hand out at the end of this turn of the loop: what arrives together is predicted together."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _hand_out(self) -> None:
        self._due = False
        while self._idle and self._queue:
            batch = self._take()
            if not batch:
                return
            self._busy += len(batch)
            self._idle.pop().predict(batch, self._limits.seconds + 1.0)

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            one = self._queue[0]
            if one.answer.done():
                self._queue.popleft()
                continue
            if batch and (one.alone or batch[0].alone or one.kind != batch[0].kind):
                break
            if batch and rows + one.rows > self._limits.batch:
                break
            batch.append(self._queue.popleft())
            rows += one.rows
        return batch

    def answered(self, batch: list[_Waiting], done: Done) -> None:
        """Take a worker's answer to a batch."""
        self._busy -= len(batch)
        self._settle(batch, done)

    def lost(self, batch: list[_Waiting], *, late: bool) -> None:
        """Take back what a worker had in hand that has ended, or is ended for being too `late`."""
        self._busy -= len(batch)
        if late:
            for one in batch:
                self._expire(one)
        elif self._closing:
            for one in batch:
                _refuse(one, OverloadError("the server is going away. Try again."))
        else:
            self._back(batch)

    def _settle(self, batch: list[_Waiting], done: Done) -> None:
        if not done.fault:
            with contextlib.suppress(IndexError, ValueError, KeyError):
                for one, outputs in zip(batch, _split(batch, unpack(done.outputs)), strict=True):
                    if not one.answer.done():
                        one.answer.set_result(outputs)
                return
            done.fault, done.blame = "the model gave another number of answers than it had examples", "model"
        if len(batch) > 1:
            for one in reversed(batch):
                one.alone = True
                self._queue.appendleft(one)
            self._soon()
            return
        if done.blame == "input":
            spec = ", ".join(
                f"{one.name} {one.datatype} {list(one.shape)}" for one in self.version.signature.inputs[:6]
            )
            _refuse(batch[0], RequestError(f"the model does not take this input: {done.fault}. Expected: {spec}."))
        else:
            _refuse(batch[0], RequestError(f"the model has failed: {done.fault}", 500))

    def _back(self, batch: list[_Waiting]) -> None:
        """Put what a dead worker had in hand to the front again."""
        for one in reversed(batch):
            one.deaths += 1
            if one.deaths >= _DEATHS and one.alone:
                _refuse(one, RequestError(f"the model's process has ended {one.deaths} times over this request.", 500))
                continue
            one.alone = one.alone or one.deaths >= _DEATHS - 1
            self._queue.appendleft(one)
        self._soon()


class _Worker:
    """A worker process as its pool sees it: what it has in hand, and that it may be gone."""

    def __init__(self, pool: Pool) -> None:
        loop = asyncio.get_running_loop()
        self._pool = pool
        self._batch: list[_Waiting] = []
        self._limit: asyncio.TimerHandle | None = None
        self._late = False
        self.greeting: asyncio.Future[Done] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.link = Link(self._arrived, self._lost)

    def predict(self, batch: list[_Waiting], seconds: float) -> None:
        """Send a batch; one that is not answered in time costs the worker its life."""
        self._batch = batch
        self._limit = asyncio.get_running_loop().call_later(seconds, self._expire)
        self.link.send(frame(Job(pack(_joined(batch)), batch[0].wanted)))

    def _expire(self) -> None:
        self._late = True
        self.link.close()

    def _arrived(self, done: Done) -> None:
        if not self.greeting.done():
            self.greeting.set_result(done)
            return
        batch, self._batch = self._batch, []
        if self._limit is not None:
            self._limit.cancel()
        if batch:
            self._pool.answered(batch, done)
            self._pool.idle(self)

    def _lost(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def give_up(self) -> None:
        """Give back what it has in hand."""
        if self._limit is not None:
            self._limit.cancel()
        batch, self._batch = self._batch, []
        if batch:
            self._pool.lost(batch, late=self._late)


def _refuse(one: _Waiting, error: RequestError) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)


def _joined(batch: list[_Waiting]) -> Mapping[str, Array]:
    if len(batch) == 1:
        return batch[0].inputs
    return {name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs}


def _split(batch: list[_Waiting], outputs: dict[str, Array]) -> list[dict[str, Array]]:
    if len(batch) == 1:
        return [outputs]
    total = sum(one.rows for one in batch)
    if any(len(array) != total for array in outputs.values()):
        raise ValueError(total)
    parts = []
    at = 0
    for one in batch:
        parts.append({name: array[at : at + one.rows] for name, array in outputs.items()})
        at += one.rows
    return parts
