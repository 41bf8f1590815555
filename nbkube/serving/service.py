"""What a server does, whatever protocol asks: it has versions in memory, chooses one, predicts, changes the routing."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

import numpy as np
import prometheus_client as prometheus

from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.models.model import ModelVersion
from nbkube.models.registry import ModelRegistry
from nbkube.models.tensors import Array
from nbkube.serving.faults import OverloadError, RequestError
from nbkube.serving.journal import Journal, add_change
from nbkube.serving.model import Deployed, Routing, ServerTask, Statistics
from nbkube.serving.pool import Pool, StartError
from nbkube.serving.protocol import Query
from nbkube.serving.routing import Chooser, rolled_back, switched, versions_of
from nbkube.serving.spawn import Spawned
from nbkube.serving.upstream import Upstream
from nbkube.storage import open_store

_DRAIN = 30.0
_LATENCIES = 2000


class LoadError(NbkubeError):
    """A version cannot be served; the message names it and says why."""


class Service:
    """The model of one server; `first` is a worker that has been started already for the version in the routing."""

    def __init__(self, task: ServerTask, first: Spawned | None = None) -> None:
        self.task = task
        self._first = first
        self.name = task.name
        self._store = open_store(task.store)
        self._registry = ModelRegistry(self._store)
        self._pools: dict[int, Pool | Upstream] = {}
        self._chooser = Chooser(task.name, task.routing)
        self._changing = asyncio.Lock()
        self._journal = Journal(self._store, task.name, task.log)
        self._background: set[asyncio.Task[None]] = set()
        self.ready = False
        self.draining = False
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._restarts = 0
        self._shadowed = 0
        self._differing = 0
        self._metrics()

    def _metrics(self) -> None:
        self.metrics = prometheus.CollectorRegistry()
        labels = ("model", "version")
        self._answers = prometheus.Counter(
            "nbkube_requests", "Requests answered.", (*labels, "status"), registry=self.metrics
        )
        self._seconds = prometheus.Histogram(
            "nbkube_request_seconds", "Seconds from a request to its answer.", labels, registry=self.metrics,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )  # fmt: skip
        waiting = prometheus.Gauge("nbkube_requests_waiting", "Requests that wait.", ("model",), registry=self.metrics)
        waiting.labels(self.name).set_function(lambda: sum(pool.waiting for pool in self._pools.values()))
        restarts = prometheus.Gauge("nbkube_worker_restarts", "Workers replaced.", ("model",), registry=self.metrics)
        restarts.labels(self.name).set_function(lambda: self._restarts)
        self._children: dict[tuple[int, int], tuple[prometheus.Counter, prometheus.Histogram]] = {}

    @property
    def routing(self) -> Routing:
        """Which version answers now."""
        return self._chooser.routing

    @property
    def versions(self) -> list[int]:
        """The versions in memory."""
        return sorted(self._pools)

    def version(self, number: int) -> ModelVersion:
        """Return a version in memory."""
        return self._pools[number].version

    # -- requests --------------------------------------------------------------------------------------------------

    def choose(self, caller: str | None, asked: str | None) -> int:
        """Return the version that answers a request; `asked` is the version in its path.

        Raises:
            RequestError: the version is not served here.
        """
        if asked is None:
            return self._chooser.choose(caller)
        number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 0
        if number not in self._pools:
            served = ", ".join(map(str, self.versions))
            raise RequestError(f"version {asked[:20]} of {self.name} is not served here. Served are: {served}.", 404)
        return number

    async def predict(self, number: int, query: Query) -> dict[str, Array]:
        """Return a version's answer."""
        pool = self._pools.get(number)
        if pool is None:  # retired since it was chosen
            number = self.routing.version
            pool = self._pools[number]
        started = time.perf_counter()
        signature = pool.version.signature
        wanted = tuple(one.name for one in signature.optional if one.name in query.outputs)
        outputs = await self._asked(pool, query, wanted)
        if self.routing.shadow is not None and number == self.routing.version:
            self._spawn(self._compare(self.routing.shadow, number, query, wanted, outputs))
        if self._journal.wants():
            seconds = time.perf_counter() - started
            self._spawn(asyncio.to_thread(self._journal.request, number, query.inputs, outputs, seconds))
        return outputs

    async def _asked(self, pool: Pool | Upstream, query: Query, wanted: tuple[str, ...]) -> dict[str, Array]:
        if pool.waiting >= self.task.limits.waiting:
            raise OverloadError(f"{pool.waiting} requests are waiting already. Try again later.")
        return await pool.predict(query.inputs, wanted)

    def count(self, number: int, status: int, seconds: float) -> None:
        """Take note of an answer."""
        known = self._children.get((number, status))
        if known is None:
            labels = (self.name, str(number))
            known = self._children[number, status] = (
                self._answers.labels(*labels, str(status)),
                self._seconds.labels(*labels),
            )
        known[0].inc()
        known[1].observe(seconds)
        if status == 200:
            self.latencies.append(seconds)

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _compare(
        self, shadow: int, number: int, query: Query, wanted: tuple[str, ...], answer: Mapping[str, Array]
    ) -> None:
        pool = self._pools.get(shadow)
        if pool is None:
            return
        try:
            other = await self._asked(pool, query, wanted)
        except RequestError:
            other = {}
        self._shadowed += 1
        if not _alike(answer, other):
            self._differing += 1
            await asyncio.to_thread(self._journal.difference, (number, shadow), query.inputs, answer, other)

    # -- changes ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the versions of the first routing; ready when each has answered its example."""
        async with self._changing:
            if self.task.record:
                self._chooser = Chooser(self.name, await asyncio.to_thread(self._recorded))
            await self._load(versions_of(self.routing))
            self.ready = True
            self._note("started")

    def _recorded(self) -> Routing:
        data = self._store.read(self.task.record)
        if data is None:
            raise LoadError(f"the record {self.task.record} of the endpoint is gone from {self._store.url}.")
        return from_json(data, Deployed).routing

    async def change(self, routing: Routing, action: str) -> Routing:
        """Go over to another routing: its versions are loaded and have predicted first, then all requests follow it.

        Raises:
            LoadError: a version cannot be loaded; nothing has changed.
        """
        async with self._changing:
            await self._load(versions_of(routing))
            self._chooser = Chooser(self.name, routing)
            self._note(action)
            keep = set(versions_of(routing))
            for number in [one for one in self._pools if one not in keep]:
                pool = self._pools.pop(number)
                self._spawn(self._retire(pool))
        return routing

    async def switch(self, version: int) -> Routing:
        """Let another version answer; the one that did stays in memory for a rollback."""
        wanted = switched(self.routing, version)
        return wanted if wanted == self.routing else await self.change(wanted, "switched")

    async def rollback(self) -> Routing:
        """Go back: from a canary to the version beside it, else to the version that answered before.

        Raises:
            RoutingError: there is none.
        """
        return await self.change(rolled_back(self.routing, self.name), "rolled back")

    def _note(self, action: str) -> None:
        if not self.task.control_port:  # one of many pods: who gives the orders writes them down
            add_change(self._store, self.name, action, self.routing)

    async def _load(self, numbers: tuple[int, ...]) -> None:
        started: list[Pool | Upstream] = []
        try:
            for number in numbers:
                if number not in self._pools:
                    started.append(await self._started(number))
        except BaseException:
            for pool in started:
                await pool.close()
            raise
        self._pools.update((pool.version.version, pool) for pool in started)

    async def _started(self, number: int) -> Pool | Upstream:
        version = await asyncio.to_thread(self._registry.get, self.name, number)
        task = self.task
        pool: Pool | Upstream
        if task.upstream:
            pool = Upstream(task.upstream.format(version=number), version, task.limits, task.token, task.dialect)
        else:
            first = None
            if number == task.routing.version:
                first, self._first = self._first, None
            pool = Pool(task, version, self._restarted, first)
        try:
            await pool.start()
        except StartError as error:
            raise LoadError(f"model {self.name} version {number} cannot be served: {error}") from None
        return pool

    def _restarted(self) -> None:
        self._restarts += 1

    async def _retire(self, pool: Pool | Upstream) -> None:
        await _drained(pool)
        await pool.close()

    async def close(self) -> None:
        """Finish what is waiting, then end all workers."""
        self.ready = False
        await asyncio.gather(*map(_drained, self._pools.values()))
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(
            *self._background, *(pool.close() for pool in self._pools.values()), return_exceptions=True
        )
        self._note("stopped")

    def statistics(self) -> Statistics:
        """Return what has been done so far."""
        answers: dict[str, dict[str, int]] = {}
        for (number, status), (counter, _) in self._children.items():
            total = int(next(iter(counter.collect())).samples[0].value)
            answers.setdefault(str(number), {})[str(status)] = total
        return Statistics(
            answers=answers,
            latencies=tuple(self.latencies),
            waiting=sum(pool.waiting for pool in self._pools.values()),
            workers={str(number): len(pool.processes) for number, pool in self._pools.items()},
            restarts=self._restarts,
            shadowed=self._shadowed,
            differing=self._differing,
            processes=[one for pool in self._pools.values() for one in pool.processes],
        )


async def _drained(pool: Pool | Upstream) -> None:
    """Wait until nothing waits any more, but not for ever."""
    until = time.monotonic() + _DRAIN
    while pool.waiting and time.monotonic() < until:
        await asyncio.sleep(0.01)


def _alike(one: Mapping[str, Array], two: Mapping[str, Array]) -> bool:
    """Tell whether two answers are the same, but for rounding."""
    if one.keys() != two.keys():
        return False
    for name, array in one.items():
        other = two[name]
        if array.shape != other.shape:
            return False
        if array.dtype.kind == "f" and other.dtype.kind == "f":
            if not np.allclose(array, other, rtol=1e-5, atol=1e-8, equal_nan=True):
                return False
        elif not (array == other).all():
            return False
    return True
