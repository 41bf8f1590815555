"""Amounts of resources as people write them."""

from __future__ import annotations


def shown(name: str, amount: float) -> str:
    """Return an amount of a resource: CPUs in cores, memory and storage in binary units, all else as a count."""
    if name.rpartition(".")[2] in ("memory", "ephemeral-storage", "storage"):
        return size(amount)
    return f"{amount:.3f}".rstrip("0").rstrip(".")


def size(amount: float) -> str:
    """Return a number of bytes as a quantity that is not more than it: 31.3Gi, 512Mi."""
    for unit, factor in (("Ti", 2**40), ("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if amount >= factor:
            tenths = int(amount * 10 // factor)
            return f"{tenths // 10}{unit}" if tenths % 10 == 0 else f"{tenths / 10:.1f}{unit}"
    return f"{amount:.0f}"


def option_of(name: str) -> str:
    """Return the option of a step by which a resource is asked for."""
    return name if name in ("cpu", "memory") else "gpu"
