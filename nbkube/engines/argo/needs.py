"""What units that share a pod need together. Light: pods use it, too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from nbkube.errors import DataflowError
from nbkube.pipeline.model import StepOptions
from nbkube.pipeline.quantities import quantity


def together(options: Iterable[StepOptions], names: Iterable[str]) -> StepOptions:
    """Return options under which all of some units can run: the largest amounts, and whatever any of them names.

    Raises:
        DataflowError: two of them cannot be had in one pod, such as two images.
    """
    merged: StepOptions | None = None
    first = ""
    for one, name in zip(options, names, strict=True):
        merged, first = (one, name) if merged is None else (_both(merged, one, first, name), first)
    assert merged is not None, "there is at least one unit"
    return merged


def suffices(pod: StepOptions, wanted: StepOptions) -> bool:
    """Tell whether a pod that was made for some options gives everything that others ask for."""
    try:
        return _pod(_both(pod, wanted, "", "")) == _pod(pod)
    except DataflowError:
        return False


def _both(left: StepOptions, right: StepOptions, first: str, second: str) -> StepOptions:
    def only(name: str) -> Any:
        one, other = getattr(left, name), getattr(right, name)
        if one and other and one != other:
            raise _conflict("image" if name == "wheelhouse" else name.replace("_", "-"), first, second)
        return one or other

    def table(name: str) -> dict[str, str]:
        one: Mapping[str, str] = getattr(left, name)
        other: Mapping[str, str] = getattr(right, name)
        for key in one.keys() & other.keys():
            if one[key] != other[key]:
                raise _conflict(f"{name.replace('_', '-')} {key}", first, second)
        return {**one, **other}

    gpu = {name: max(left.gpu.get(name, 0), right.gpu.get(name, 0)) for name in {**left.gpu, **right.gpu}}
    return replace(
        left,
        cpu=max(left.cpu, right.cpu, key=_amount),
        memory=max(left.memory, right.memory, key=_amount),
        gpu=gpu,
        gpu_type=only("gpu_type"),
        image=only("image"),
        wheelhouse=only("wheelhouse"),
        secret=_union(left.secret, right.secret),
        volume=_union(left.volume, right.volume),
        node_selector=table("node_selector"),
        toleration=_union(left.toleration, right.toleration),
        labels=table("labels"),
        annotations=table("annotations"),
    )


def _pod(options: StepOptions) -> tuple[Any, ...]:
    """Return what of the options is the pod's business."""
    return (
        _amount(options.cpu), _amount(options.memory), options.gpu, options.gpu_type, options.image,
        options.wheelhouse, set(options.secret), set(options.volume), options.node_selector, set(options.toleration),
    )  # fmt: skip


def _amount(text: str) -> Any:
    return quantity(text) if text else 0


def _union(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*left, *(one for one in right if one not in left))


def _conflict(option: str, first: str, second: str) -> DataflowError:
    return DataflowError(
        f"steps {first} and {second} share a value that cannot be stored, so they need one pod, and they differ in the "
        f"option {option}. Give both the same {option}, or make the value in the step that uses it."
    )
