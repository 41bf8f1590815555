"""The commands about profiles and clusters: profile, doctor, resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nbkube.cli.arguments import AsJson, assignments
from nbkube.cli.faults import guarded
from nbkube.cli.terminal import one_line, tell, write

if TYPE_CHECKING:
    from nbkube.client import Client

_Name = Annotated[
    str, typer.Argument(metavar="[PROFILE]", help="The profile (default: the one in force).", show_default=False)
]
_Chosen = Annotated[
    str, typer.Option("--profile", metavar="PROFILE", help="Take this profile, not the default.", show_default=False)
]
_profile = typer.Typer(
    help="Profiles: where runs are carried out, and what notebooks may ask for there.", no_args_is_help=True
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(_profile, name="profile")
    app.command()(doctor)
    app.command()(resources)


def _client(profile: str = "") -> Client:
    from nbkube.client import Client

    return Client(profile=profile)


@_profile.command()
@guarded
def init(
    name: Annotated[str, typer.Argument(metavar="PROFILE", help="Name of the new profile, such as lab.")],
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SETTING=VALUE", help="A setting, as in --set namespace=team-a; may be repeated."
        ),
    ] = None,
    user: Annotated[bool, typer.Option("--user", help="Write to your own file, not the project's.")] = False,
    json: AsJson = False,
) -> None:
    """Add a profile to nbkube.toml. Context and namespace are those kubectl uses now, unless given."""
    from nbkube.cluster import contexts

    settings = assignments(setting or (), "--set")
    if settings.setdefault("engine", "argo") == "argo" and "context" not in settings:
        current = next((one for one in contexts() if one.current), None)
        if current:
            settings["context"] = current.name
            if current.namespace:
                settings.setdefault("namespace", current.namespace)
    path = _client().add_profile(name, settings, for_user=user)
    if json:
        _write_json({"profile": name, "file": str(path), "settings": settings})
    else:
        tell(f"{one_line(str(path))}: profile {name} is written. Next: edit it, then nbkube doctor --profile {name}")


@_profile.command("list")
@guarded
def list_(json: AsJson = False) -> None:
    """List the profiles of the project and your own."""
    from nbkube.cli.tables import draw, table

    known = _client().profiles()
    if json:
        _write_json(known)
        return
    drawn = table(("profile", "engine", "cluster", "namespace", "store", "from"), wide=("store", "from"))
    for name, one in known.profiles.items():
        where = one.context or ("current context" if one.engine == "argo" else "")
        drawn.add_row(
            f"{name} (default)" if name == known.default else name,
            one.engine,
            one_line(where),
            one.namespace,
            one_line(one.store.url or ".nbkube in the project"),
            one_line(", ".join(known.origins.get(name, ("built in",)))),
        )
    draw(drawn)


@_profile.command()
@guarded
def show(name: _Name = "", json: AsJson = False) -> None:
    """Show the settings of a profile, those left open with their defaults."""
    import msgspec

    from nbkube.profiles.settings import in_force

    profile = _client(name).profile()
    settings = in_force(profile)
    if json:
        _write_json({"profile": profile.name, "settings": settings})
        return
    write(f"profile {profile.name}")
    for setting, value in settings.items():
        write(f"  {setting} = {msgspec.json.encode(value).decode()}")


@_profile.command()
@guarded
def manifests(
    name: _Name = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace, if the profile names none.")
    ] = "",
    user: Annotated[
        list[str] | None, typer.Option("--user", metavar="NAME", help="Let this user run notebooks; may be repeated.")
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="Let this group run notebooks; may be repeated.")
    ] = None,
    capacity: Annotated[
        bool, typer.Option("--capacity", help="Also let them see nodes, and the pods of all namespaces.")
    ] = False,
    serving: Annotated[bool, typer.Option("--serving", help="Also let them serve models.")] = False,
) -> None:
    """Print what an admin applies once: nbkube profile manifests lab | kubectl apply --filename -"""
    client = _client(name)
    text = client.manifests(namespace, users=user or (), groups=group or (), capacity=capacity, serving=serving)
    write(text, end="")


@guarded
def doctor(profile: _Chosen = "", json: AsJson = False) -> None:
    """Check all that runs need. For each fault, print the command that mends it."""
    from nbkube.cli.health import print_checks

    raise typer.Exit(print_checks(_client(profile), json=json))


@guarded
def resources(profile: _Chosen = "", json: AsJson = False) -> None:
    """Show what is free: CPUs, memory, GPUs and quota of the cluster, or of this machine."""
    from nbkube.cli.health import print_capacity

    capacity = _client(profile).resources()
    if json:
        _write_json(capacity)
    else:
        print_capacity(capacity)


def _write_json(value: object) -> None:
    import msgspec

    write(msgspec.json.encode(value).decode())
