"""The commands about notebook servers on the cluster: lab up, list, down."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import guarded
from nbkube.cli.terminal import one_line, tell, write

if TYPE_CHECKING:
    from nbkube.labs import Labs

_Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the server.", show_default=False)]
_Chosen = Annotated[
    str, typer.Option("--profile", metavar="PROFILE", help="Take this profile, not the default.", show_default=False)
]
_lab = typer.Typer(help="Notebook servers on the cluster.", no_args_is_help=True, rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(_lab, name="lab")


def _labs(profile: str) -> Labs:
    from nbkube.client import Client

    return Client(profile=profile).labs()


def _option(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, show_default=False)


@_lab.command()
@guarded
def up(
    name: _Name,
    image: Annotated[str, _option("REFERENCE", "Image that holds JupyterLab (default: the profile's).")] = "",
    cpu: Annotated[str, _option("CORES", "CPUs it asks for.")] = "",
    memory: Annotated[str, _option("SIZE", "Memory it may have.")] = "",
    gpu: Annotated[list[str] | None, _option("COUNT | DEVICE=COUNT", "GPUs.")] = None,
    gpu_type: Annotated[str, _option("NAME", "Model of the GPU, as nodes are labelled.")] = "",
    workspace: Annotated[
        str, typer.Option(metavar="CLAIM | new:SIZE[:CLASS]", help="Volume for its files.")
    ] = "new:10Gi",
    volume: Annotated[list[str] | None, _option("PVC:PATH | new:SIZE[:CLASS]:PATH", "Another volume.")] = None,
    port: Annotated[int, typer.Option(metavar="PORT", help="Port of this machine (default: any).", min=0)] = 0,
    wait: Annotated[int, typer.Option(metavar="SECONDS", help="How long to wait until it is ready.", min=0)] = 600,
    detach: Annotated[bool, typer.Option("--detach", help="Make it, wait for nothing, carry nothing.")] = False,
    profile: _Chosen = "",
    json: AsJson = False,
) -> None:
    """Make a notebook server, or go back to one, and carry it to a port of this machine until Ctrl-C.

    The server and its workspace stay when this ends; `nbkube lab down NAME` takes the server away.
    """
    from nbkube.labs.model import lab_request

    texts = {"image": image, "cpu": cpu, "memory": memory, "gpu-type": gpu_type}
    given: dict[str, Any] = {key: text for key, text in texts.items() if text}
    if gpu:
        given["gpu"] = gpu
    if volume:
        given["volume"] = volume
    labs = _labs(profile)
    made = labs.up(lab_request(name, given, workspace))
    if detach:
        if json:
            _write_json({"name": name, "made": made})
        else:
            tell(f"{name}: {'made' if made else 'is there already'}. Next: nbkube lab up {name}")
        return
    labs.wait(name, wait, lambda text: tell(f"{name}: {one_line(text)}"))
    with labs.forward(name, port) as forward:
        url = f"http://127.0.0.1:{forward.local_port}/lab?token={labs.token(name)}"
        if json:
            _write_json({"name": name, "made": made, "url": url})
        else:
            write(url)
            tell("Ctrl-C ends the connection; the server stays.")
        while True:
            time.sleep(3600)


@_lab.command("list")
@guarded
def list_(profile: _Chosen = "", json: AsJson = False) -> None:
    """List the notebook servers of the namespace."""
    found = _labs(profile).list()
    if json:
        _write_json(found)
        return
    from nbkube.cli.tables import draw, table

    drawn = table(("name", "phase", "cpu", "memory", "devices", "workspace", "image", "why"), wide=("image", "why"))
    for one in found:
        devices = ", ".join(f"{device}={count}" for device, count in one.devices.items())
        drawn.add_row(
            *map(one_line, (one.name, one.phase, one.cpu, one.memory, devices, one.workspace, one.image, one.reason))
        )
    draw(drawn)


@_lab.command()
@guarded
def down(
    name: _Name,
    delete_workspace: Annotated[
        bool, typer.Option("--delete-workspace", help="Delete the volume that was made for it, with all files.")
    ] = False,
    profile: _Chosen = "",
    json: AsJson = False,
) -> None:
    """Take a notebook server away. Its workspace stays unless that is said, and is found again by `up`."""
    gone = _labs(profile).down(name, workspace=delete_workspace)
    if json:
        _write_json({"name": name, "removed": gone})
    else:
        tell(f"{one_line(name)}: {'gone' if gone else 'was not there'}")


def _write_json(body: object) -> None:
    import msgspec

    write(msgspec.json.encode(body).decode())
