"""The interface as one table: what is called how, what it takes and what it gives. Handlers and OpenAPI follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from nbkube.server import labs, model, serving, storage
from nbkube.server import labs_model as servers
from nbkube.server import serving_model as endpoints
from nbkube.server import storage_model as files
from nbkube.server.service import Service
from nbkube.storage.preview import ObjectPreview

PREFIX = "/nbkube/api/v1"
Verb = Literal["get", "post", "put", "patch", "delete"]


class Route(NamedTuple):
    """One verb on one path. `call` gets the service, `{run}` if the path has it, then query and body if there are such.

    `form` is how the answer is sent: json, stream (server-sent events), html, file, or pieces (a file that comes from
    elsewhere). `raw`: the body is bytes as they are.
    """

    verb: Verb
    path: str
    call: Callable[..., Any]
    answer: type[msgspec.Struct]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    form: Literal["json", "stream", "html", "file", "pieces"] = "json"
    raw: bool = False

    @property
    def summary(self) -> str:
        """Return what it does, in a sentence."""
        return (self.call.__doc__ or "").strip().split("\n")[0]

    @property
    def has_run(self) -> bool:
        """Whether the path names a run."""
        return "{run}" in self.path


_AT = files.ObjectQuery
STORAGE_ROUTES = (
    Route("get", "/storage/places", storage.places, files.StoragePlaces, query=files.StorageAt),
    Route("get", "/storage/list", storage.page, files.StoragePage, query=files.ListQuery),
    Route("get", "/storage/stat", storage.stat, files.ObjectStat, query=_AT),
    Route("get", "/storage/preview", storage.preview, ObjectPreview, query=_AT),
    Route("get", "/storage/content", storage.content, model.Empty, query=_AT, form="pieces"),
    Route("put", "/storage/content", storage.write, files.ObjectStat, query=_AT, raw=True),
    Route("delete", "/storage/content", storage.remove, files.Removed, query=_AT),
    Route("post", "/storage/folder", storage.make_folder, files.Made, query=_AT),
    Route("post", "/storage/copy", storage.copy, files.Copied, query=_AT, body=files.CopyBody),
    Route("get", "/storage/versions", storage.versions, files.Versions, query=_AT),
    Route("post", "/storage/versions", storage.restore, files.Versions, query=_AT, body=files.VersionBody),
    Route("post", "/storage/upload", storage.begin, files.Upload, query=_AT, body=files.UploadBody),
    Route("put", "/storage/upload", storage.send, files.Part, query=files.PartQuery, raw=True),
    Route("patch", "/storage/upload", storage.complete, files.ObjectStat, query=_AT, body=files.PartsBody),
    Route("delete", "/storage/upload", storage.give_up, model.Empty, query=files.UploadQuery),
)
ROUTES = (
    Route("get", "/information", Service.information, model.Information, query=model.InProject),
    Route("post", "/pipeline", Service.pipeline, model.PipelineView, body=model.NotebookBody),
    Route("post", "/proposal", Service.proposal, model.Proposal, body=model.NotebookBody),
    Route("get", "/capacity", Service.capacity, model.Capacity, query=model.InProject),
    Route("post", "/preview", Service.preview, model.Preview, body=model.RunBody),
    Route("get", "/runs", Service.runs, model.RunPage, query=model.RunQuery),
    Route("post", "/runs", Service.start, model.Started, body=model.RunBody),
    Route("get", "/starting", Service.starting, model.Starting, query=model.StartQuery),
    Route("get", "/runs/{run}", Service.run, model.RunDetail, query=model.InProject),
    Route("patch", "/runs/{run}", Service.annotate, model.RunDetail, query=model.InProject, body=model.RunNotes),
    Route("delete", "/runs/{run}", Service.delete, model.Empty, query=model.InProject),
    Route("post", "/runs/{run}/stop", Service.stop, model.RunDetail, query=model.InProject),
    Route("post", "/runs/{run}/pause", Service.pause, model.RunDetail, query=model.InProject),
    Route("post", "/runs/{run}/resume", Service.resume, model.RunDetail, query=model.InProject),
    Route("post", "/runs/{run}/open", Service.open, model.OpenedStep, query=model.InProject, body=model.StepBody),
    Route("get", "/runs/{run}/artifacts", Service.artifacts, model.ArtifactList, query=model.InProject),
    Route("get", "/runs/{run}/file", Service.file, model.FilePreview, query=model.FileQuery),
    Route("get", "/runs/{run}/content", Service.content, model.Empty, query=model.FileQuery, form="file"),
    Route("get", "/runs/{run}/report", Service.report, model.Empty, query=model.InProject, form="html"),
    Route("get", "/runs/{run}/log", Service.shown, model.LogPiece, query=model.LogQuery, form="stream"),
    Route("get", "/models", serving.models, endpoints.ModelList, query=model.InProject),
    Route("post", "/endpoints", serving.serve, endpoints.EndpointRow, body=endpoints.ServeBody),
    Route("post", "/endpoints/predict", serving.predict, endpoints.Prediction, body=endpoints.PredictBody),
    Route("post", "/endpoints/stop", serving.stop, endpoints.EndpointRow, body=endpoints.EndpointBody),
    Route("post", "/endpoints/rollback", serving.rollback, endpoints.EndpointRow, body=endpoints.EndpointBody),
    Route("post", "/endpoints/canary", serving.canary, endpoints.EndpointRow, body=endpoints.EndpointBody),
    Route("get", "/labs", labs.labs, servers.LabList, query=model.InProject),
    Route("post", "/labs", labs.up, servers.LabRow, body=servers.LabBody),
    Route("post", "/labs/connect", labs.connect, servers.LabAddress, body=servers.NamedLab),
    Route("post", "/labs/down", labs.down, model.Empty, body=servers.NamedLab),
    *STORAGE_ROUTES,
)
