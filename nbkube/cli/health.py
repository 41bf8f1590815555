"""Printing what the doctor found and what is free."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from nbkube.cli.tables import draw, drawable, table
from nbkube.cli.terminal import one_line, safe, write
from nbkube.preflight.amounts import shown, size

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.cluster.capacity import Amounts, Capacity, NodeCapacity

_SIGNS = {"ok": "✓", "warning": "!", "fault": "✗", "unknown": "?"}


def print_checks(client: Client, *, json: bool) -> int:
    """Print each check as it ends; return 0, 1 with a fault, 3 if cluster, store or registry do not answer."""
    profile = client.profile()
    checks = []
    for one in client.doctor():
        checks.append(one)
        if json:
            continue
        write(drawable(f"{_SIGNS[one.verdict]} {one.name:<14} {safe(one.message)}"))
        if one.fix:
            write(drawable(f"  {'':<14} Fix: {safe(one.fix)}"))
    faults = [one for one in checks if one.verdict == "fault"]
    if json:
        write(msgspec.json.encode({"profile": profile.name, "ok": not faults, "checks": checks}).decode())
    elif not faults:
        write(f"\nReady to run with the profile {profile.name}.")
    else:
        write(f"\n{len(faults)} fault{'s' if len(faults) > 1 else ''}.")
    return 3 if any(one.unreachable for one in faults) else 1 if faults else 0


def print_capacity(capacity: Capacity) -> None:
    """Print free and total amounts by node, then quotas, then what could not be seen."""
    if capacity.nodes:
        _draw_nodes(capacity)
    if capacity.quotas:
        _draw_quotas(capacity)
    for line in _notes(capacity):
        write(line)


def _draw_nodes(capacity: Capacity) -> None:
    free = capacity.source in ("nodes and pods", "this machine")
    write("Free of all" if free else "In all (what is free is not visible)")
    devices = list(capacity.devices)
    columns = ("node", "CPUs", "memory", *devices, "kind", "")
    drawn = table(columns, right=("CPUs", "memory", *devices), wide=("",))
    for node in capacity.nodes:
        cells = [_free(node, name) for name in ("cpu", "memory", *devices)]
        drawn.add_row(one_line(node.name), *cells, one_line(" ".join((node.arch, node.product)).strip()), _state(node))
    draw(drawn)
    if len(capacity.nodes) > 1 and free:
        most = ", ".join(
            f"{shown(name, capacity.largest(name, free=True))} {_word(name)}" for name in ("cpu", "memory", *devices)
        )
        write(f"Most that is free on one node: {most}.")


def _free(node: NodeCapacity, name: str) -> str:
    if name not in node.allocatable:
        return ""
    total = shown(name, node.allocatable[name])
    if node.free is None:
        return total
    amount = node.free.get(name, 0.0)
    return f"{size(amount) if name == 'memory' else f'{amount:.1f}'.removesuffix('.0')} of {total}"


def _word(name: str) -> str:
    return {"cpu": "CPUs"}.get(name, name)


def _state(node: NodeCapacity) -> str:
    words = [] if node.ready else ["not ready"]
    words += ["closed for new pods"] if node.ready and not node.open else []
    words += [f"taint {taint}" for taint in node.taints]
    return one_line(", ".join(words))


def _draw_quotas(capacity: Capacity) -> None:
    write("\nQuota" if capacity.nodes else "Quota")
    drawn = table(("quota", "resource", "used", "of", "left"), right=("used", "of", "left"))
    for quota in capacity.quotas:
        for name, hard in sorted(quota.hard.items()):
            used = quota.used.get(name, 0.0)
            left = max(0.0, hard - used)
            drawn.add_row(one_line(quota.name), one_line(name), shown(name, used), shown(name, hard), shown(name, left))
    draw(drawn)


def _notes(capacity: Capacity) -> Iterable[str]:
    for limit in capacity.limits:
        parts = [f"at least {_list(limit.least)}"] if limit.least else []
        parts += [f"at most {_list(limit.most)}"] if limit.most else []
        parts += [f"by default {_list(limit.default_request or limit.default)}"] if limit.default else []
        yield f"Each {limit.type} ({one_line(limit.name)}): {', '.join(parts)}."
    if capacity.storage_classes:
        names = ", ".join(f"{one.name}{' (default)' if one.default else ''}" for one in capacity.storage_classes)
        yield f"Storage classes: {one_line(names)}."
    if capacity.source == "unknown":
        yield "What is free is not known: we may see neither nodes nor a quota."
    if capacity.hidden:
        yield f"Not visible to us: {', '.join(capacity.hidden)}."


def _list(amounts: Amounts) -> str:
    return ", ".join(f"{shown(name, amount)} {_word(name)}" for name, amount in sorted(amounts.items()))
