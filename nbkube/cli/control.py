"""Commands for runs that go on: follow, stop, pause, resume them; remove them, and free what nobody needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nbkube.cli.app import RunName, Store, app
from nbkube.cli.arguments import AsJson
from nbkube.cli.faults import guarded
from nbkube.cli.terminal import one_line, write

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.runs.model import RunState

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only the result.")]


@app.command()
@guarded
def stop(
    run: RunName = "last",
    now: Annotated[bool, typer.Option("--now", help="Kill at once what is running.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Cancel a run. Finished steps are kept."""
    from nbkube.cli.results import found

    client = _client(store)
    before = found(client, run)
    _tell_state(client.stop(before.run.id, now=now), json=json, unchanged=before.phase.ended)


@app.command()
@guarded
def pause(run: RunName = "last", store: Store = None, json: AsJson = False) -> None:
    """Start no further step of a run. Steps that are running go on to their end."""
    from nbkube.cli.results import found

    client = _client(store)
    _tell_state(client.pause(found(client, run).run.id), json=json)


@app.command()
@guarded
def resume(
    run: RunName = "last",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once; the run goes on.")] = False,
    quiet: Quiet = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Let a run go on that is paused, was interrupted, was cancelled or has failed. Finished steps are kept."""
    from nbkube.cli import running
    from nbkube.cli.results import found
    from nbkube.runs.model import Phase

    client = _client(store)
    before = found(client, run)
    state = client.resume(before.run.id)
    if before.phase is Phase.SUCCEEDED:
        _tell_state(state, json=json, unchanged=True)
    elif detach:
        _tell_state(state, json=json)
    else:
        raise typer.Exit(running.follow(client, state, quiet=quiet, json=json))


@app.command()
@guarded
def rm(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, by id, the beginning or end of one, or last.")
    ],
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Remove runs from the list. Their results stay in the cache until gc frees them."""
    from nbkube.cli.results import as_json, found

    client = _client(store)
    known = [found(client, name).run.id for name in runs]
    for name in dict.fromkeys(known):
        client.remove(name)
        if not json:
            write(f"Removed run {name}.")
    if json:
        write(as_json({"removed": known}))


@app.command()
@guarded
def gc(
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="Keep what was used within this time, such as 2h or 30m.")
    ] = "24h",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be freed.")] = False,
    scrub: Annotated[bool, typer.Option("--scrub", help="Read everything in the store and report damage.")] = False,
    store: Store = None,
    json: AsJson = False,
) -> None:
    """Free the results and objects that no run and no reference leads to. Runs may go on meanwhile."""
    from nbkube.cli import tables
    from nbkube.cli.arguments import duration
    from nbkube.cli.results import as_json

    done = _client(store).collect(grace=duration(grace, "--grace"), dry_run=dry_run, scrub=scrub)
    if json:
        write(as_json(done))
    else:
        for one in done.damaged:
            write(one_line(one))
        size = tables.memory(done.bytes) or "0 B"
        write(f"{'Would free' if dry_run else 'Freed'} {size}: {done.results} results, {done.objects} objects.")
        write(f"Kept: {done.kept_results} results, {done.kept_objects} objects.")
    raise typer.Exit(1 if done.damaged else 0)


def _client(store: str | None) -> Client:
    from nbkube.client import Client

    return Client(store=store)


def _tell_state(state: RunState, *, json: bool, unchanged: bool = False) -> None:
    from nbkube.cli.results import as_json, summary

    if json:
        write(as_json(summary(state)))
        return
    reason = f" ({one_line(state.reason)})" if state.reason else ""
    write(f"Run {state.run.id}{' ended before' if unchanged else ''}: {state.phase.lower()}{reason}.")
