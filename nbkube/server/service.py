"""What the routes do: each function calls `Client` once and turns the answer into a type of the wire.

All of it is synchronous and runs in threads. Paths come from the browser as Jupyter names them: relative to the folder
it serves, with slashes; nothing outside that folder is reached.
"""

from __future__ import annotations

import base64
import csv
import io
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube import __version__
from nbkube.client import STORE_FOLDER, Client
from nbkube.errors import NbkubeError, NotebookError, NotFoundError, RunError
from nbkube.pipeline import option_schema
from nbkube.runs import RunQuery
from nbkube.server import model, views
from nbkube.state.summary import is_code
from nbkube.storage.files import Storage
from nbkube.storage.preview import preview

Shown = tuple[list[model.LogPiece], int, bool]
HERE = "local"
_LOCAL = model.Place(name=HERE, engine=HERE, detail="this machine; each step in a process of its own")
_PREVIEW_BYTES = 64 << 10
_PREVIEW_ROWS = 200
_IMAGE_BYTES = 4 << 20
_PATIENCE = 6.0
"""Seconds for which a person looks at a panel that waits for a server which does not answer."""


class Service:
    """The verbs of the interface for one served folder; holds no state but that folder, and what starts are doing."""

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self._root = root.resolve()
        self._environment = dict(os.environ if environment is None else environment)
        self._starting: dict[str, str] = {}
        self._storages: dict[tuple[tuple[str, str], ...], Storage] = {}

    # -- notebooks -------------------------------------------------------------------------------------------------

    def information(self, query: model.InProject) -> model.Information:
        """Say what this server can do for a project."""
        places: tuple[model.Place, ...] = (_LOCAL,)
        default, fault = HERE, ""
        try:
            known = self._client(query).profiles()
            places, default = tuple(views.place(one) for one in known.profiles.values()), known.default
        except NbkubeError as error:
            fault = str(error)
        return model.Information(
            version=__version__, places=places, default=default, fault=fault, option_schema=option_schema()
        )

    def pipeline(self, body: model.NotebookBody) -> model.PipelineView:
        """Analyse a notebook as it stands in the editor; nothing of it runs."""
        path = self.path(body.path)
        try:
            # With the folder's own store, whatever the profile says: while one types nothing leaves this machine.
            store = str(Client(path.parent).root / STORE_FOLDER)
            return views.pipeline_view(Client(path.parent, store=store).show(path, content=_content(body)))
        except NotebookError as error:
            if not error.diagnostics:
                raise
            return views.broken_view(body.path, error.diagnostics)

    def proposal(self, body: model.NotebookBody) -> model.Proposal:
        """Propose tags for the cells that have none."""
        path = self.path(body.path)
        found = Client(path.parent).suggest(path, content=_content(body))
        return model.Proposal(
            tags=tuple(
                model.ProposedTag(number=one.number, id=one.id, tags=one.tags, reason=one.reason) for one in found
            )
        )

    def capacity(self, query: model.InProject) -> model.Capacity:
        """Say what is free now where runs are carried out."""
        client = self._client(query)
        return views.capacity(client.resources(), client.profile().name)

    # -- runs ------------------------------------------------------------------------------------------------------

    def preview(self, body: model.RunBody) -> model.Preview:
        """Say what a run would be; nothing is started."""
        path, client = self._saved(body)
        profile = client.profile()
        shown = client.show(path, body.parameters)
        ready = not any(one.severity == "error" for one in shown.diagnostics)
        forecasts = client.forecast(path, parameters=body.parameters, use_cache=body.use_cache)[1] if ready else ()
        return model.Preview(
            digest=shown.notebook.digest,
            ready=ready,
            place=views.place(profile),
            project=str(path.parent),
            parameters=views.plain({one.name: shown.values.get(one.name, one.default) for one in shown.parameters}),
            steps=tuple(
                model.PreviewStep(
                    name=step.name,
                    forecast=said,
                    image=step.options.image or profile.image,
                    options=views.options(step),
                )
                for step, said in zip(shown.steps, forecasts, strict=False)
            ),
            problems=views.problems(shown.diagnostics),
        )

    def start(self, body: model.RunBody) -> model.Started:
        """Start a run of the file that the preview was made of; `starting` tells meanwhile how far that is."""
        path, client = self._saved(body)

        def listen(event: Mapping[str, Any]) -> None:
            if body.ticket and (said := views.doing(event)):
                self._starting[body.ticket] = said

        try:
            run = client.submit(
                path,
                parameters=body.parameters,
                experiment=body.experiment.strip(),
                use_cache=body.use_cache,
                on_event=listen,
            )
        finally:
            self._starting.pop(body.ticket, None)
        return model.Started(run=run)

    def starting(self, query: model.StartQuery) -> model.Starting:
        """Say what is being done for a run that is about to begin."""
        return model.Starting(doing=self._starting.get(query.ticket, ""))

    def runs(self, query: model.RunQuery) -> model.RunPage:
        """List runs, the newest first, page by page."""
        client = self._client(query)
        wanted = RunQuery(
            before=query.before,
            limit=query.limit,
            text=query.text,
            phase=query.phase,
            experiment=query.experiment,
            notebook=self._in_project(client, query.path) if query.notebook else "",
        )
        rows, total = client.rows(wanted)
        return model.RunPage(
            runs=tuple(views.summary(row, self._jupyter_path(row.root, row.notebook)) for row in rows),
            next=rows[-1].id if len(rows) == query.limit else "",
            total=total,
        )

    def run(self, run: str, query: model.InProject) -> model.RunDetail:
        """Show one run."""
        client = self._client(query)
        state = client.status(run)
        path = self._jupyter_path(state.run.root, state.run.notebook)
        return views.detail(state, client.notes(state.id), path, client.waiting(state))

    def stop(self, run: str, query: model.InProject) -> model.RunDetail:
        """Cancel a run; what is finished is kept."""
        self._client(query).stop(run)
        return self.run(run, query)

    def pause(self, run: str, query: model.InProject) -> model.RunDetail:
        """Have a run start no further step."""
        self._client(query).pause(run)
        return self.run(run, query)

    def resume(self, run: str, query: model.InProject) -> model.RunDetail:
        """Let a run go on; what is finished is kept."""
        self._client(query).resume(run)
        return self.run(run, query)

    def annotate(self, run: str, query: model.InProject, body: model.RunNotes) -> model.RunDetail:
        """Write labels or the note of a run."""
        client = self._client(query)
        client.annotate(client.status(run).id, body.labels, body.note)
        return self.run(run, query)

    def delete(self, run: str, query: model.InProject) -> model.Empty:
        """Remove a run from the list; its results stay known."""
        self._client(query).remove(run)
        return model.Empty()

    def open(self, run: str, query: model.InProject, body: model.StepBody) -> model.OpenedStep:
        """Write a notebook that goes on where a step began or failed; a kernel that runs its first cell is there."""
        opened = self._client(query).open_step(run, body.step, keep=True)
        place = opened.path.resolve()
        path = place.relative_to(self._root).as_posix() if place.is_relative_to(self._root) else ""
        return model.OpenedStep(path=path, cell=opened.cell, cell_id=opened.cell_id, doubts=opened.doubts)

    # -- what runs have left -----------------------------------------------------------------------------------------

    def artifacts(self, run: str, query: model.InProject) -> model.ArtifactList:
        """List variables, files and metrics of a run."""
        made = self._client(query).artifacts(run)
        variables = [
            model.Variable(name=name, step=step, type=ref.type, summary=ref.summary or ref.reason, size=ref.size)
            for step, refs in made.variables.items()
            for name, ref in sorted(refs.items())
            if ":" not in name and ref.kind != "deleted" and not is_code(ref.type)
        ]
        files = [
            model.RunFile(path=one.path, size=one.size, kind=views.file_kind(one.path)[0])  # type: ignore[arg-type]
            for one in made.files
            if one.kind == "file"
        ]
        return model.ArtifactList(variables=tuple(variables), files=tuple(files), metrics=views.plain(made.metrics))

    def file(self, run: str, query: model.FileQuery) -> model.FilePreview:
        """Show the beginning of a file that a run has made."""
        entry, place = self._client(query).file(run, query.file)
        kind, media = views.file_kind(entry.path)
        limit = _IMAGE_BYTES if kind == "image" else _PREVIEW_BYTES
        with place.open("rb") as source:
            data = source.read(limit)
        cut = entry.size > len(data)
        text = ""
        rows: tuple[tuple[str, ...], ...] = ()
        if kind == "image":
            text = "" if cut else base64.b64encode(data).decode()
        elif kind == "table":
            rows = _rows(data, "\t" if entry.path.endswith(".tsv") else ",")
        elif found := views.record_rows(preview(entry.path, entry.size, lambda count: data[:count]).records):
            kind, rows = "table", found
        elif b"\0" not in data:
            kind, text = "text", data.decode("utf-8", "replace")
        return model.FilePreview(
            path=entry.path,
            size=entry.size,
            kind=kind,  # type: ignore[arg-type]
            media=media,
            text=text,
            rows=rows,
            cut=cut or len(rows) >= _PREVIEW_ROWS,
        )

    def content(self, run: str, query: model.FileQuery) -> tuple[str, Path]:
        """Return name and place of a file that a run has made, for a download."""
        entry, place = self._client(query).file(run, query.file)
        return Path(entry.path).name, place

    def report(self, run: str, query: model.InProject) -> str:
        """Return the report of a run as a page that holds no scripts."""
        from nbkube.report import render_report

        return render_report(self._client(query).report(run))

    def shown(self, run: str, query: model.LogQuery) -> Callable[[], Shown]:
        """Follow what a step shows from a piece on: each call returns what is new.

        That is: the pieces that can be shown, the number of the next one, and whether no more will come.
        """
        log = self._client(query).step_log(run, query.step)

        def read() -> Shown:
            pieces, end, ended = log.read()
            new = pieces[max(0, query.start - (end - len(pieces))) :]
            return [piece for piece in map(views.log_piece, new) if piece is not None], max(end, query.start), ended

        return read

    # -- files ---------------------------------------------------------------------------------------------------------

    def storage(self, path: str, place: str) -> tuple[Client, Storage]:
        """Return the client of a place, and the files that its profile leads to, with their connections kept open.

        Where to is said by the profile and by the environment that the server was started with, never by a request.
        """
        client = self._client(model.InProject(path=path, place=place))
        key = tuple(sorted(client.profile().store.variables().items()))
        if key not in self._storages:
            self._storages[key] = client.storage(self._environment, _PATIENCE)
        return client, self._storages[key]

    def leads_to_buckets(self, client: Client) -> bool:
        """Tell whether a place has an S3 server: its profile names one, or the environment does."""
        store = client.profile().store
        known = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "NBKUBE_S3_CREDENTIALS")
        return bool(store.endpoint) or store.url.startswith("s3:") or any(map(self._environment.get, known))

    # -- places ------------------------------------------------------------------------------------------------------

    def path(self, path: str) -> Path:
        """Return the place of a path that the browser has sent.

        Raises:
            NotFoundError: it leads out of the folder that Jupyter serves.
        """
        if "\0" in path or len(path) > 4096:
            raise NotFoundError("there is no such path.")
        try:
            found = (self._root / path.lstrip("/")).resolve()
        except (OSError, RuntimeError, ValueError):
            raise NotFoundError(f"{path}: there is no such path.") from None
        if self._root != found and self._root not in found.parents:
            raise NotFoundError(f"{path} lies outside the folder that Jupyter serves.")
        return found

    def project(self, path: str) -> Path:
        """Return the root of the project that a path belongs to."""
        return self._client(model.InProject(path=path)).root

    def _saved(self, body: model.RunBody) -> tuple[Path, Client]:
        """Return the notebook's file, if it is the one that the caller has seen, and the client of its place."""
        path = self.path(body.path)
        client = Client(path.parent, profile=body.place)
        if body.digest and client.show(path).notebook.digest != body.digest:
            raise RunError(f"{body.path} has been changed since the preview. Look at the preview again.")
        return path, client

    def client(self, query: model.InProject) -> Client:
        """Return the client of a project."""
        return self._client(query)

    def _client(self, query: model.InProject) -> Client:
        place = self.path(query.path)
        return Client(place if place.is_dir() else place.parent, profile=query.place)

    def _jupyter_path(self, root: str, notebook: str) -> str:
        place = Path(root, notebook)
        return place.relative_to(self._root).as_posix() if place.is_relative_to(self._root) else ""

    def _in_project(self, client: Client, path: str) -> str:
        place = self.path(path)
        root = client.root
        return place.relative_to(root).as_posix() if place.is_relative_to(root) else path


def _content(body: model.NotebookBody) -> bytes | None:
    return None if body.content is None else msgspec.json.encode(body.content)


def _rows(data: bytes, delimiter: str) -> tuple[tuple[str, ...], ...]:
    text = io.StringIO(data.decode("utf-8", "replace"), newline="")
    try:
        return tuple(tuple(row) for row in itertools.islice(csv.reader(text, delimiter=delimiter), _PREVIEW_ROWS))
    except csv.Error:
        return ()
