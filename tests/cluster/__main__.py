"""`python -m tests.cluster build|up|down|status|load-image|packages|demo`: the bench from a terminal."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from tests.cluster import bench, golang, layout, lifecycle, parts, preflight, profile
from tests.cluster.api import Api
from tests.cluster.layout import BenchError
from tests.cluster.servers import Servers


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build what is missing, into the cache folder")
    build.add_argument("--only", metavar="PART", action="append", help="build this part only (may be repeated)")
    commands.add_parser("up", help="start the bench; what runs already is kept")
    commands.add_parser("down", help="stop it and remove everything it made")
    commands.add_parser("status", help="say what is built and what runs")
    commands.add_parser("load-image", help="push the images with nbkube as it is in this checkout")
    commands.add_parser("packages", help="print the Debian packages this machine lacks")
    demo = commands.add_parser("demo", help="run a command with a profile `bench` that names a namespace of the bench")
    demo.add_argument("argv", nargs="+", metavar="COMMAND")
    options = parser.parse_args(arguments)
    try:
        return int(_COMMANDS[options.command](options))
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _build(options: argparse.Namespace) -> int:
    if lacks := preflight.missing_to_build():
        raise BenchError("the bench cannot be built:\n" + "\n".join(f"  - {line}" for line in lacks))
    standard = lifecycle.parts()
    known = {part.name: part for part in (*standard, golang.kserve(), golang.crane())}
    if unknown := set(options.only or ()) - set(known):
        raise BenchError(f"no part {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    wanted = options.only or [part.name for part in standard]
    took = {name: parts.build(part, _say) for name, part in known.items() if name in wanted}
    for name, seconds in took.items():
        _say(f"  {name:16} {seconds / 60:5.1f} minutes")
    return 0


def _up(_: argparse.Namespace) -> int:
    started = time.monotonic()
    found = lifecycle.up(_say)
    _say(f"the bench is up ({time.monotonic() - started:.1f} s)\n{lifecycle.describe(found)}")
    return 0


def _down(_: argparse.Namespace) -> int:
    lifecycle.down(_say)
    return 0


def _status(_: argparse.Namespace) -> int:
    for part in lifecycle.parts():
        _say(f"  {part.name:24} {'built' if part.is_built else 'not built'}")
    servers = Servers(layout.run_folder())
    for name in servers.names():
        pid = servers.pid(name)
        _say(f"  {name:24} {f'runs, process {pid}' if pid else 'has ended'}")
    running = lifecycle.is_up()
    _say(f"the bench is up\n{lifecycle.describe(bench.read())}" if running else "the bench is not up")
    return 0 if running else 1


def _load_image(_: argparse.Namespace) -> int:
    found = bench.read()
    loaded = lifecycle.load_image(layout.CHECKOUT)
    bench.write(bench.replace_images(found, loaded))
    _say(f"{loaded.base}\n{loaded.tensorflow}")
    return 0


def _packages(_: argparse.Namespace) -> int:
    _say(" ".join(preflight.missing_packages()))
    return 0


def _demo(options: argparse.Namespace) -> int:
    """Run a command as a user of the bench would, in a namespace and a bucket that are kept."""
    found = bench.replace_images(bench.read(), lifecycle.load_image(layout.CHECKOUT))
    variables = profile.use(found, Api(found.kubeconfig), "demo", "demo", found.run_folder / "config")
    return subprocess.run(options.argv, env={**os.environ, **variables}, check=False).returncode


_COMMANDS = {
    "build": _build,
    "up": _up,
    "down": _down,
    "status": _status,
    "load-image": _load_image,
    "packages": _packages,
    "demo": _demo,
}

if __name__ == "__main__":
    sys.exit(main())
