"""The commands about files in buckets and folders: storage ls, cp, mv, rm, mb, mkdir, cat, head, stat, versions."""

from __future__ import annotations

import datetime
import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import guarded
from nbkube.cli.terminal import is_terminal, one_line, tell, write

if TYPE_CHECKING:
    from nbkube.storage.files import FileInfo, FileVersion, Storage

_Location = Annotated[
    str,
    typer.Argument(metavar="LOCATION", help="A path, or s3://BUCKET/KEY; a folder ends in '/'.", show_default=False),
]
_storage = typer.Typer(
    help="Files in S3 buckets and in folders: list, copy, show, remove them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_PROGRESS_BYTES = 32 << 20
_PROGRESS_SECONDS = 0.5


def add_to(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(_storage, name="storage")


def _files() -> Storage:
    from nbkube.client import Client

    return Client().storage()


def _here() -> str:
    from nbkube.client import Client

    return Client().storage_place()


@_storage.command()
@guarded
def ls(
    location: Annotated[
        str,
        typer.Argument(
            metavar="[LOCATION]", help="A path, s3://BUCKET/KEY, or s3:// for all buckets.", show_default=False
        ),
    ] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="List all files below it.")] = False,
    json: AsJson = False,
) -> None:
    """List files and folders with size and time.

    Without a location: what NBKUBE_STORAGE names, else the profile's store, else the project.
    """
    found = _files().walk(location or _here(), recursive=recursive)
    if json:
        _write_json([_as_json(one) for one in found])
        return
    for one in found:  # written as they come: a bucket may hold millions
        if not write(_line(one)):
            return


@_storage.command()
@guarded
def cp(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="What to copy; with '/' at its end all files below it.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Where to; with '/' at its end the file keeps its name.")
    ],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")] = False,
    json: AsJson = False,
) -> None:
    """Copy files to, from and within buckets. A file appears at its target as a whole or not at all."""
    from nbkube.storage.disk import readable_size

    progress = _Copying(shown=not quiet and is_terminal(sys.stderr))
    size = _files().copy(source, target, progress.add)
    progress.end()
    if json:
        _write_json({"source": source, "target": target, "bytes": size})
    else:
        tell(f"{one_line(source)} -> {one_line(target)}: {readable_size(size)}")


@_storage.command()
@guarded
def rm(
    location: _Location,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing a folder.")] = False,
    json: AsJson = False,
) -> None:
    """Remove a file; with '/' at its end all files below a folder; s3://BUCKET an empty bucket."""
    if location.endswith("/") and not yes:
        _confirm(location)
    count = _files().rm(location)
    if json:
        _write_json({"location": location, "removed": count})
    else:
        tell(f"{one_line(location)}: {count} removed")


def _tell_made(location: str, made: bool, *, json: bool) -> None:
    if json:
        _write_json({"location": location, "made": made})
    else:
        tell(f"{one_line(location)}: {'made' if made else 'is there already'}")


@_storage.command()
@guarded
def mb(
    location: Annotated[str, typer.Argument(metavar="BUCKET", help="The bucket to make: s3://NAME.")],
    json: AsJson = False,
) -> None:
    """Make a bucket (or a folder); nothing happens where it is there already."""
    _tell_made(location, _files().mb(location), json=json)


@_storage.command()
@guarded
def cat(location: _Location) -> None:
    """Write a file's bytes to standard output."""
    with _files().open(location) as file:
        try:
            while piece := file.read(1 << 20):
                sys.stdout.buffer.write(cast(bytes, piece))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            sys.stdout = None  # nobody reads any more; nothing is left to flush


@_storage.command()
@guarded
def mv(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="s3://BUCKET/KEY; with '/' at its end a folder.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Its new name, in this or another bucket.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace what is there.")] = False,
    json: AsJson = False,
) -> None:
    """Give a file or folder of a bucket another name. Nothing is replaced unless that is said."""
    count = _files().move(source, target, replace=replace)
    if json:
        _write_json({"source": source, "target": target, "moved": count})
    else:
        tell(f"{one_line(source)} -> {one_line(target)}: {count} moved")


@_storage.command()
@guarded
def mkdir(
    location: Annotated[str, typer.Argument(metavar="FOLDER", help="s3://BUCKET/FOLDER/, or a local folder.")],
    json: AsJson = False,
) -> None:
    """Make an empty folder; nothing happens where it is there already."""
    _tell_made(location, _files().mkdir(location), json=json)


@_storage.command()
@guarded
def stat(location: _Location, json: AsJson = False) -> None:
    """Show what is known of a file without reading it."""
    found = _files().stat(location)
    body = {
        "location": found.location,
        "size": found.size,
        "modified": _iso(found.modified),
        "etag": found.etag,
        "type": found.type,
        "version": found.version,
    }
    if json:
        _write_json(body)
        return
    for name, value in body.items():
        if value != "":
            write(f"{name:<9} {one_line(str(value), 2000)}")


@_storage.command()
@guarded
def head(location: _Location, json: AsJson = False) -> None:
    """Show the beginning of a file: text, rows of a table, cells of a notebook, records of a TFRecord file."""
    import msgspec

    from nbkube.cli.previews import preview_lines

    found = _files().preview(location)
    if json:
        _write_json(msgspec.to_builtins(found))
        return
    for line in preview_lines(found):
        if not write(line):
            return


@_storage.command()
@guarded
def versions(
    location: _Location,
    restore: Annotated[
        str, typer.Option("--restore", metavar="VERSION", help="Make this version the newest one.", show_default=False)
    ] = "",
    json: AsJson = False,
) -> None:
    """List the versions that a bucket keeps of a file, the newest first."""
    from nbkube.storage.disk import readable_size

    files = _files()
    if restore:
        files.restore(location, restore)
    found = files.versions(location)
    if json:
        _write_json([{**_fields(one), "modified": _iso(one.modified)} for one in found])
        return
    for one in found:
        size = "removed" if one.deleted else readable_size(one.size)
        write(f"{size:>12}  {_time(one.modified):<16}  {one_line(one.id)}{'  (newest)' if one.latest else ''}")


def _fields(one: FileVersion) -> dict[str, Any]:
    return {"id": one.id, "size": one.size, "latest": one.latest, "deleted": one.deleted}


def _confirm(location: str) -> None:
    from nbkube.errors import NbkubeError

    if not is_terminal(sys.stdin):
        raise NbkubeError(f"{one_line(location)} is a folder: add --yes to remove all files below it.")
    tell(f"Remove all files below {one_line(location)}? [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        tell("Nothing is removed.")
        raise typer.Exit(0)


def _line(one: FileInfo) -> str:
    from nbkube.storage.disk import readable_size

    size = "-" if one.size is None else readable_size(one.size)
    return f"{size:>12}  {_time(one.modified):<16}  {one_line(one.location, 2000)}"


def _time(modified: float | None) -> str:
    return "" if modified is None else f"{datetime.datetime.fromtimestamp(modified):%Y-%m-%d %H:%M}"


def _iso(modified: float | None) -> str | None:
    return None if modified is None else datetime.datetime.fromtimestamp(modified, datetime.UTC).isoformat()


def _as_json(one: FileInfo) -> dict[str, Any]:
    modified = _iso(one.modified)
    return {"location": one.location, "size": one.size, "modified": modified, "folder": one.size is None}


def _write_json(body: object) -> None:
    import msgspec

    write(msgspec.json.encode(body).decode())


class _Copying:
    """A line on the terminal that counts bytes, once a copy turns out to be large."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._start = self._told = time.monotonic()
        self._bytes = 0
        self._lines = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """Count bytes that have been copied; from any thread."""
        from nbkube.storage.disk import readable_size

        with self._lock:
            self._bytes += count
            now = time.monotonic()
            if self._shown and self._bytes >= _PROGRESS_BYTES and now - self._told >= _PROGRESS_SECONDS:
                self._told = now
                self._lines += 1
                speed = self._bytes / (now - self._start)
                tell(f"\r{readable_size(self._bytes)} copied, {readable_size(speed)}/s \x1b[K", end="")

    def end(self) -> None:
        """Remove the line."""
        if self._lines:
            tell("\r\x1b[K", end="")
