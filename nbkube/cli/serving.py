"""The commands about models and endpoints: models, serve, predict, endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import CANCELLED, guarded
from nbkube.cli.terminal import one_line, safe, tell, write
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.models import ModelVersion, Tensor
    from nbkube.serving.model import Endpoint, Pods, Routing

ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.", show_default=False)]
Store = Annotated[
    str | None,
    typer.Option("--store", metavar="FOLDER", help="Where models are kept (default: .nbkube in the project)."),
]
VersionNumber = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="The version (default: the newest).")
]
Profile = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="A profile of nbkube.toml (default: the one in force).")
]
Trust = Annotated[
    str, typer.Option("--trust", metavar="DIGEST", help="Agree to a model that runs code, by its digest.")
]

_models = typer.Typer(help="Models: named, with versions.", invoke_without_command=True)
_endpoints = typer.Typer(help="Endpoints: models that are being served.", invoke_without_command=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(_models, name="models")
    app.command()(serve)
    app.command()(predict)
    app.add_typer(_endpoints, name="endpoints")


def _client(store: str | None = None, profile: str = "") -> Client:
    from nbkube.client import Client

    return Client(store=store, profile=profile)


def _write_json(value: Any) -> None:
    import msgspec

    write(msgspec.json.encode(value).decode())


# -- models --------------------------------------------------------------------------------------------------------


@_models.callback()
@guarded
def models(context: typer.Context, store: Store = None, json: AsJson = False) -> None:
    """List the registered models, or work with one."""
    if context.invoked_subcommand is None:
        _list_models(_client(store), json=json)


@_models.command("list")
@guarded
def list_models(store: Store = None, json: AsJson = False) -> None:
    """List the registered models."""
    _list_models(_client(store), json=json)


def _list_models(client: Client, *, json: bool) -> None:
    from nbkube.cli.tables import draw, memory, moment, number, table

    known = client.models()
    if json:
        _write_json([{"name": name, "versions": [_summary(one) for one in found]} for name, found in known.items()])
        return
    if not known:
        tell("No model is registered yet. Run a notebook with a step that has the option model, or: nbkube models add")
        return
    drawn = table(("model", "version", "format", "size", "metrics", "made by", "when"), right=("version", "size"))
    for name, found in known.items():
        for one in reversed(found):
            metrics = ", ".join(f"{key} {number(value)}" for key, value in list(one.metrics.items())[:3])
            made = f"{one.run} {one.step}" if one.run else one.source
            drawn.add_row(
                name,
                str(one.version),
                one.format,
                memory(one.size),
                one_line(metrics),
                one_line(made),
                moment(one.created),
            )
    draw(drawn)


def _summary(one: ModelVersion) -> dict[str, Any]:
    import msgspec

    return {
        "version": one.version, "format": one.format, "digest": one.digest, "size": one.size, "created": one.created,
        "run": one.run, "step": one.step, "source": one.source, "metrics": one.metrics,
        "signature": msgspec.to_builtins(one.signature),
    }  # fmt: skip


@_models.command("show")
@guarded
def show_model(name: ModelName, version: VersionNumber = None, store: Store = None, json: AsJson = False) -> None:
    """Show a version: what it takes and gives, where it comes from, its files."""
    from nbkube.cli.tables import memory, moment, number

    found = _client(store).model(name, version)
    if json:
        import msgspec

        _write_json({**msgspec.to_builtins(found), "digest": found.digest})
        return
    write(f"{found.name} version {found.version}: {found.format}, {memory(found.size)}, {moment(found.created)}")
    write(f"  digest   {found.digest}")
    if found.run:
        write(safe(f"  made by  step {found.step} of run {found.run}, {found.source}"))
    for label, tensors in (("takes", found.signature.inputs), ("gives", found.signature.outputs)):
        for one in tensors:
            write(safe(f"  {label:8} {_tensor(one)}"))
    for one in found.signature.optional:
        write(safe(f"  {'':8} {_tensor(one)}, if asked for"))
    for key, value in found.metrics.items():
        write(safe(f"  {one_line(key):8} {number(value)}"))
    for one_file in found.files:
        write(safe(f"  file     {one_file.path} {memory(one_file.size)} {one_file.digest[:12]}"))
    write(safe("  made with " + ", ".join(f"{key} {value}" for key, value in found.libraries.items())))


def _tensor(one: Tensor) -> str:
    sizes = ", ".join("any" if size == -1 else str(size) for size in one.shape)
    return f"{one.name}: {one.datatype} [{sizes}]"


@_models.command("add")
@guarded
def add_model(
    name: ModelName,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A file or folder; with --run a variable or path.")
    ] = "",
    run: Annotated[str, typer.Option("--run", metavar="RUN", help="Take it from this run.")] = "",
    step: Annotated[str, typer.Option("--step", metavar="STEP", help="The run's step that has made it.")] = "",
    example: Annotated[
        str, typer.Option("--example", metavar="FILE", help="A JSON file with an example; with --run a variable.")
    ] = "",
    trust: Trust = "",
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Register a file, a folder, or what a step of a run has made."""
    client = _client(store)
    if run:
        if not step:
            raise NbkubeError("--run needs the step that has made the model. Fix: add --step STEP")
        made = client.add_model_of_run(name, run, step, source, example=example)
    elif source:
        made = client.add_model(name, Path(source), example=_json_file(example) if example else None, trust=trust)
    else:
        raise NbkubeError("there is nothing to register. Fix: name a file or folder, or --run RUN --step STEP")
    if json:
        _write_json({"name": made.name, **_summary(made)})
    else:
        tell(f"{made.name} version {made.version} is registered ({made.format}). Next: nbkube serve {made.name}")


def _json_file(path: str) -> Any:
    import msgspec

    data = Path(path).read_bytes()
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise NbkubeError(f"{path}: {error}. Fix: write JSON, a list of rows or a request.") from None


@_models.command("rm")
@guarded
def remove_model(
    name: ModelName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The version to remove.")],
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Remove a version. Its number is not given again; nbkube gc frees its files."""
    _client(store).remove_model(name, version)
    if json:
        _write_json({"name": name, "version": version, "removed": True})
    else:
        tell(f"{name} version {version} is removed.")


# -- serving -------------------------------------------------------------------------------------------------------


@guarded
def serve(
    name: ModelName,
    version: VersionNumber = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it answers; it goes on.")] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port (default: a free one).")
    ] = 0,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="The address to listen at.")] = "127.0.0.1",
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, max=64, help="Processes that predict (default: 2, 1 in a pod)."),
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="Ask callers for the token in NBKUBE_ENDPOINT_TOKEN.")] = False,
    log: Annotated[
        float,
        typer.Option("--log", metavar="SHARE", min=0.0, max=1.0, help="Keep this share of requests in the store."),
    ] = 0.0,
    redact: Annotated[
        list[str] | None,
        typer.Option("--redact", metavar="INPUT", help="Leave this input out of them; may be repeated."),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="For one answer.")] = 30.0,
    limit: Annotated[int, typer.Option("--limit", metavar="MIB", min=1, help="The largest request.")] = 32,
    trust: Trust = "",
    profile: Profile = "",
    image: Annotated[
        str, typer.Option("--image", metavar="REFERENCE", help="On a cluster: the image (default: the profile's).")
    ] = "",
    replicas: Annotated[
        str,
        typer.Option("--replicas", metavar="MIN[:MAX]", help="On a cluster: pods of a version, up to MAX under load."),
    ] = "1:3",
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="NAME=IMAGE",
            help="On a cluster: tensorflow-serving, triton or mlserver.",
        ),
    ] = "",
    cpu: Annotated[str, typer.Option("--cpu", metavar="CORES", help="On a cluster: CPUs of a pod.")] = "",
    memory: Annotated[str, typer.Option("--memory", metavar="SIZE", help="On a cluster: memory of a pod.")] = "",
    gpu: Annotated[
        list[str] | None, typer.Option("--gpu", metavar="COUNT | DEVICE=COUNT", help="On a cluster: GPUs of a pod.")
    ] = None,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Serve a model. It is ready when it has answered a real request; without --detach it ends with Ctrl-C.

    With a profile that has a cluster it is served there, and reached as the profile says.
    """
    from nbkube.serving.model import Limits, RequestLog

    client = _client(store, profile)
    endpoint = client.serve(
        name,
        version,
        host=host,
        port=port,
        workers=workers,
        token=_token() if token else "",
        trust=trust,
        limits=Limits(body=limit << 20, seconds=timeout),
        log=RequestLog(share=log, redact=tuple(redact or ())),
        pods=pods_of(image, replicas, runtime, cpu, memory, gpu or []),
        tell=_quiet if json else _told,
    )
    if json:
        _write_json(_line(endpoint))
    else:
        _tell_endpoint(endpoint)
    if not detach:
        raise typer.Exit(_until_interrupted(client, endpoint))


def _quiet(_: Mapping[str, Any]) -> None:
    return None


def _told(news: Mapping[str, Any]) -> None:
    tell(one_line(f"{news['phase']}: {news.get('message') or news.get('url', '')}"))


def pods_of(image: str, replicas: str, runtime: str, cpu: str, memory: str, gpu: list[str]) -> Pods:
    """Return what the pods of an endpoint are made of, from texts as people type them."""
    from nbkube.errors import NotebookError, Place
    from nbkube.pipeline.options import merge, settings_of
    from nbkube.serving.model import Pods

    least, _, most = replicas.partition(":")
    if not least.isdigit() or not (most or least).isdigit() or not 1 <= int(least) <= int(most or least) <= 1000:
        raise NbkubeError(f"--replicas {replicas[:40]!r} is no number of pods. Fix: write 2, or 1:3 for one to three.")
    server, _, its_image = runtime.partition("=")
    if runtime and not its_image:
        raise NbkubeError(f"--runtime {runtime[:60]!r} names no image. Fix: write triton=REGISTRY/IMAGE:TAG")
    given = {key: text for key, text in (("image", image), ("cpu", cpu), ("memory", memory), ("gpu", gpu)) if text}
    settings, faults = settings_of(given, "the request", Place("serve"))
    options, more = merge(settings)
    if faults or more:
        raise NotebookError(diagnostics=[*faults, *more])
    return Pods(
        image=options.image,
        runtime=server,
        runtime_image=its_image,
        replicas=int(least),
        most=int(most or least),
        cpu=options.cpu,
        memory=options.memory,
        gpu=dict(options.gpu),
    )


def _token() -> str:
    import os

    from nbkube.client.serving import TOKEN

    given = os.environ.get(TOKEN, "")
    if len(given) < 16:
        raise NbkubeError(f"{TOKEN} holds no token of 16 letters or more. Fix: export {TOKEN}=$(openssl rand -hex 24)")
    return given


def _line(endpoint: Endpoint) -> dict[str, Any]:
    return {"name": endpoint.name, "version": endpoint.version, "url": endpoint.url, "phase": endpoint.phase}


def _tell_endpoint(endpoint: Endpoint) -> None:
    base = f"{endpoint.url}/v2/models/{endpoint.name}"
    tell(f"{endpoint.name} version {endpoint.version} is {endpoint.phase} at {base}")
    tell(f"Ask it: nbkube predict {endpoint.name}    Stop it: nbkube endpoints stop {endpoint.name}")


def _until_interrupted(client: Client, endpoint: Endpoint) -> int:
    """Wait until the person ends it, or somebody else has; return the exit code."""
    import signal
    import time

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    try:
        pause = 5.0 if endpoint.namespace else 0.3
        while any(
            one.name == endpoint.name and one.namespace == endpoint.namespace and one.phase in ("Ready", "Starting")
            for one in client.endpoints()
        ):
            time.sleep(pause)
    except KeyboardInterrupt:
        client.stop_endpoint(endpoint.name)
        tell(f"{endpoint.name} is stopped.")
        return CANCELLED
    tell(f"{endpoint.name} has ended.")
    return 0


@guarded
def predict(
    name: ModelName,
    data: Annotated[
        str, typer.Argument(metavar="[DATA]", help="Rows or a request, as JSON, @FILE, or - (default: the example).")
    ] = "",
    version: VersionNumber = None,
    profile: Profile = "",
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Ask an endpoint and print its answer. Text that is no JSON is one example."""
    answer = _client(store, profile).predict(name, given(data), version=version)
    if json or not isinstance(answer, dict) or "outputs" not in answer:
        _write_json(answer)
        return
    outputs = answer["outputs"]
    if not isinstance(outputs, list) or not all(isinstance(one, dict) and "data" in one for one in outputs):
        _write_json(answer)
        return
    for one in outputs:
        values = ", ".join(str(value) for value in one["data"][:20])
        more = f" and {len(one['data']) - 20} more" if len(one["data"]) > 20 else ""
        write(safe(f"{one['name']} {one['shape']}: {values}{more}"))


def given(data: str) -> Any:
    """Return what a person has typed as JSON, `@FILE` or `-`; None for nothing, text that is no JSON is one example."""
    import sys

    import msgspec

    if not data:
        return None
    if data == "-":
        raw = sys.stdin.buffer.read()
    elif data.startswith("@"):
        raw = Path(data[1:]).read_bytes()
    else:
        raw = data.encode("utf-8", "surrogateescape")
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return [raw.decode("utf-8", "replace")]


# -- endpoints -----------------------------------------------------------------------------------------------------


@_endpoints.callback()
@guarded
def endpoints(context: typer.Context, profile: Profile = "", json: AsJson = False) -> None:
    """List the endpoints, or work with one."""
    if context.invoked_subcommand is None:
        _list_endpoints(_client(profile=profile), json=json)


@_endpoints.command("list")
@guarded
def list_endpoints(profile: Profile = "", json: AsJson = False) -> None:
    """List the endpoints."""
    _list_endpoints(_client(profile=profile), json=json)


def _list_endpoints(client: Client, *, json: bool) -> None:
    from nbkube.cli.tables import draw, moment, table

    found = client.endpoints()
    if json:
        import msgspec

        _write_json([{**_line(one), "routing": msgspec.to_builtins(one.routing)} for one in found])
        return
    if not found:
        tell("Nothing is being served. Next: nbkube models, then nbkube serve MODEL")
        return
    drawn = table(("endpoint", "version", "state", "where", "url", "since"), right=("version",))
    for one in found:
        where = f"{one.profile}/{one.namespace}" if one.namespace else "here"
        drawn.add_row(one.name, _routed(one.routing), one.phase, where, one.url, moment(one.started))
    draw(drawn)


def _routed(routing: Routing) -> str:
    more = ""
    if routing.canary:
        more += f", {routing.canary.version} gets {routing.canary.share:.0%}"
    if routing.shadow:
        more += f", {routing.shadow} in the shadow"
    return f"{routing.version}{more}"


@_endpoints.command()
@guarded
def stop(name: ModelName, profile: Profile = "", json: AsJson = False) -> None:
    """Let an endpoint finish what it has and end."""
    _tell_change(_client(profile=profile).stop_endpoint(name), json=json)


@_endpoints.command()
@guarded
def rollback(name: ModelName, profile: Profile = "", json: AsJson = False) -> None:
    """Go back to the version that answered before, or away from a canary."""
    _tell_change(_client(profile=profile).rollback_endpoint(name), json=json)


@_endpoints.command()
@guarded
def canary(
    name: ModelName,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The version that gets a share.")],
    share: Annotated[float, typer.Argument(metavar="PERCENT", min=0, max=100, help="Its share; 0 ends it.")],
    sticky: Annotated[
        str, typer.Option("--sticky", metavar="HEADER", help="Requests with one value of this header get one version.")
    ] = "",
    profile: Profile = "",
    json: AsJson = False,
) -> None:
    """Let another version answer a share of the requests."""
    _tell_change(_client(profile=profile).canary(name, version, share / 100, sticky=sticky), json=json)


@_endpoints.command()
@guarded
def shadow(
    name: ModelName,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=0, help="The version that gets copies; 0 ends it.")],
    profile: Profile = "",
    json: AsJson = False,
) -> None:
    """Send copies of requests to another version and keep what it answers differently."""
    _tell_change(_client(profile=profile).shadow(name, version), json=json)


@_endpoints.command()
@guarded
def history(name: ModelName, profile: Profile = "", json: AsJson = False) -> None:
    """Show what was done with an endpoint."""
    from nbkube.cli.tables import draw, moment, table

    found = _client(profile=profile).endpoint_history(name)
    if json:
        _write_json(found)
        return
    drawn = table(("when", "what", "version"))
    for one in found:
        drawn.add_row(moment(one.time), one.action, _routed(one.routing) if one.routing else "")
    draw(drawn)


def _tell_change(endpoint: Endpoint, *, json: bool) -> None:
    if json:
        _write_json(_line(endpoint))
    else:
        tell(f"{endpoint.name}: {endpoint.phase}, version {_routed(endpoint.routing)}")


@_endpoints.command()
@guarded
def bench(
    name: ModelName,
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=1, max=20000, help="Requests a second.")] = 100.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="N", min=1, max=600, help="How long.")] = 10.0,
    profile: Profile = "",
    json: AsJson = False,
) -> None:
    """Measure latency: send the example at a steady rate, however slow the answers are."""
    from nbkube.cli.tables import drawable

    found = _client(profile=profile).bench_endpoint(name, rate=rate, seconds=seconds)
    if json:
        _write_json(found)
    else:
        write(
            f"{found.sent} requests sent, {found.answered} answered, {found.failed} failed; {found.rate:.0f} a second"
        )
        for share, value in found.percentiles.items():
            write(f"  {share:6} {value * 1000:8.1f} ms")
        write(drawable(f"  slowest {found.plot} {max(found.worst) * 1000:.0f} ms, over time"))
    if found.failed:
        raise typer.Exit(1)
