"""Building the images of a notebook's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nbkube.cli import arguments
from nbkube.cli.app import NotebookPath, Parameter, ParameterFile, ProfileName, Setting, app
from nbkube.cli.app import _client as client_for
from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import guarded, tell_diagnostics
from nbkube.cli.progress import message_of
from nbkube.cli.terminal import one_line, safe, tell, write

if TYPE_CHECKING:
    from nbkube.images import Built, Environment


@app.command()
@guarded
def build(
    notebook: NotebookPath,
    push: Annotated[bool, typer.Option("--push", help="Bring the images to the profile's registry.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the images to a file for kind, k3d, minikube, or a folder."
        ),
    ] = None,
    bake: Annotated[
        bool, typer.Option("--bake", help="Put notebook and project in as well: the image alone runs every step.")
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="REQUIREMENT", help="Add a distribution, e.g. lxml>=5; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="NAME", help="Leave a distribution out; may be repeated."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Choose versions anew, and look at the base anew.")
    ] = False,
    param: Parameter = None,
    params: ParameterFile = None,
    set_: Setting = None,
    profile: ProfileName = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    json: AsJson = False,
) -> None:
    """Build the images that steps run in, one for each distinct environment. No docker, no root."""
    from nbkube.cli import pipelines
    from nbkube.errors import NotebookError

    client = client_for(None, notebook, profile)
    pipeline = pipelines.built(client, notebook, param, params, set_)
    if pipelines.is_broken(pipeline):
        raise NotebookError(diagnostics=pipeline.diagnostics)
    tell_diagnostics(pipeline.diagnostics)

    def show(event: Mapping[str, Any]) -> None:
        if not quiet and (message := message_of(event)):
            tell(safe(message))

    def show_found(environments: Sequence[Environment]) -> None:
        if not quiet:
            _tell_environments(environments)

    built = client.build(
        notebook,
        parameters=pipeline.values,
        options=arguments.step_options(set_ or ()),
        push=push,
        output=output,
        bake=bake,
        refresh=refresh,
        extra=[*(require or ()), *(f"-{name}" for name in without or ())],
        on_event=show,
        found=show_found,
    )
    if json:
        write(_as_json(built))
        return
    for one in built:
        where = one.reference or one.digest
        write(safe(f"{', '.join(one.steps)}: {where}"))
        tell(safe(f"  {one.reason}; {one.bytes_pushed / 1e6:.1f} MB sent, {one.layers_mounted} layers mounted"))
    if not push and not output:
        tell("Nothing was pushed: --push brings the images to the profile's registry, --output FILE writes them.")


def _tell_environments(environments: Sequence[Environment]) -> None:
    for one in environments:
        tell(safe(f"{', '.join(one.steps)} {'needs' if len(one.steps) == 1 else 'need'}:"))
        width = max((len(requirement.text) for requirement in one.requirements), default=0)
        for requirement in one.requirements:
            tell(safe(f"  {requirement.text:{width}}  {one_line(requirement.origin)}"))
        if not one.requirements:
            tell("  nothing beside Python")


def _as_json(built: Sequence[Built]) -> str:
    import msgspec

    images = [
        {"steps": one.steps, "reference": one.reference, "digest": one.digest, "bytes_pushed": one.bytes_pushed,
         "reason": one.reason}
        for one in built
    ]  # fmt: skip
    return msgspec.json.encode({"images": images}).decode()
