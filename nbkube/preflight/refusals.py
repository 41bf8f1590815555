"""What would be refused or never start, found before a submission, each with its step and option. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping

from nbkube.cluster.capacity import Amounts, Capacity, NodeCapacity, is_device
from nbkube.errors import Diagnostic, Place, Severity
from nbkube.notebook.suggest import closest
from nbkube.pipeline.model import Pipeline, Step, StepOptions, Toleration
from nbkube.pipeline.quantities import quantity
from nbkube.preflight.amounts import option_of, shown
from nbkube.preflight.surroundings import Surroundings
from nbkube.profiles.manifests import secret_command
from nbkube.profiles.model import Allowed, Profile


def refusals(profile: Profile, pipeline: Pipeline, around: Surroundings | None = None) -> tuple[Diagnostic, ...]:
    """Return why steps would be refused or could never start; empty if nothing stands against a submission.

    Errors stand for certain; a warning where nodes are made on demand, so that what fits none now may fit later.

    Args:
        profile: its allow lists and defaults hold.
        pipeline: the steps with their options.
        around: what is in the namespace, from `look`; None checks the allow lists alone.
    """
    found: list[Diagnostic] = []
    for step in pipeline.steps:
        for severity, code, option, message, hint in _of_step(profile, step.options, around):
            said = f"step {step.name}, option {option}: {message}"
            found.append(Diagnostic(severity, code, _place(pipeline, step), said, hint))
    if around is not None:
        found += (
            Diagnostic("error", "missing", Place(pipeline.notebook.path), *said) for said in _base(profile, around)
        )
    return tuple(found)


Finding = tuple[Severity, str, str, str, str]
"""Severity, code, option, message, hint."""


def requested(options: StepOptions, profile: Profile) -> Amounts:
    """Return what a step's container asks for, the profile's defaults included."""
    wanted = {"cpu": options.cpu or profile.resources.cpu, "memory": options.memory or profile.resources.memory}
    found = {name: float(quantity(text)) for name, text in wanted.items() if text}
    return found | {name: float(count) for name, count in options.gpu.items() if count}


def _of_step(profile: Profile, options: StepOptions, around: Surroundings | None) -> Iterator[Finding]:
    yield from _not_allowed(profile, options)
    if around is None:
        return
    yield from _absent(options, around)
    wanted = requested(options, profile)
    yield from _beyond_quota(wanted, around)
    if around.capacity.source in ("nodes", "nodes and pods"):
        yield from _fits_no_node(options, wanted, around.capacity)


# -- allow lists -------------------------------------------------------------------------------------------------------


def _not_allowed(profile: Profile, options: StepOptions) -> Iterator[Finding]:
    allow = profile.allow
    if options.image and not is_allowed_image(options.image, profile):
        yield _refused(profile, "image", options.image, "images", options.image)
    for secret in options.secret:
        if not _matches(secret.name, allow.secrets):
            yield _refused(profile, "secret", secret.name, "secrets", secret.name)
    for volume in options.volume:
        if volume.claim and not _matches(volume.claim, allow.volumes):
            yield _refused(profile, "volume", volume.claim, "volumes", volume.claim)
    for key, value in options.node_selector.items():
        if not _matches(f"{key}={value}", allow.node_selectors):
            yield _refused(profile, "node-selector", f"{key}={value}", "node-selectors", f"{key}={value}")


def is_allowed_image(image: str, profile: Profile) -> bool:
    """Tell whether a step may run in an image: the profile's, one of its registry, or one on its list."""
    if image == profile.image or _matches(image, profile.allow.images):
        return True
    return bool(profile.registry) and image.startswith(profile.registry.rstrip("/") + "/")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    # Only `*` is special: names hold brackets nowhere, and a question mark says nothing.
    return any(fnmatch.fnmatchcase(name, one.replace("[", "[[]").replace("?", "[?]")) for one in patterns)


def _refused(profile: Profile, option: str, name: str, setting: str, add: str) -> Finding:
    known: tuple[str, ...] = getattr(Allowed(), setting.replace("-", "_"))
    allowed: tuple[str, ...] = getattr(profile.allow, setting.replace("-", "_"))
    there = f"it allows {', '.join(allowed)}" if allowed and allowed != known else f"it allows no {setting}"
    message = f"{name} is not on the list of the profile {profile.name} ({there})"
    hint = f'if it is meant, add "{add}" to {setting} below [profiles.{profile.name}.allow] in nbkube.toml'
    return "error", "not-allowed", option, message, hint


# -- what is missing ---------------------------------------------------------------------------------------------------


def _absent(options: StepOptions, around: Surroundings) -> Iterator[Finding]:
    for secret in options.secret:
        if ("Secret", secret.name) in around.missing:
            make = f"make it: kubectl create secret generic {secret.name} --namespace {around.namespace} …"
            yield "error", "missing", "secret", f"there is no secret {secret.name} in {around.namespace}", make
    classes = around.capacity.storage_classes
    for volume in options.volume:
        if volume.claim and ("PersistentVolumeClaim", volume.claim) in around.missing:
            message = f"there is no volume claim {volume.claim} in {around.namespace}"
            yield "error", "missing", "volume", message, "see what there is: kubectl get pvc, or use new:SIZE:PATH"
        elif not volume.claim and classes is not None:
            names = [one.name for one in classes]
            if volume.storage_class and volume.storage_class not in names:
                near = closest(volume.storage_class, names)
                hint = f"did you mean {near}?" if near else f"there are {', '.join(names) or 'none'}"
                yield "error", "missing", "volume", f"there is no storage class {volume.storage_class}", hint
            elif not volume.storage_class and not any(one.default for one in classes):
                hint = f"name one: new:{volume.size}:CLASS:{volume.path}; there are {', '.join(names) or 'none'}"
                yield "error", "missing", "volume", "the cluster has no default storage class", hint


def _base(profile: Profile, around: Surroundings) -> Iterator[tuple[str, str]]:
    """Yield what the profile itself names and what is not there: message, hint."""
    mend = f"nbkube profile manifests --profile {profile.name} | kubectl apply --filename -"
    if ("Namespace", around.namespace) in around.missing:
        yield f"there is no namespace {around.namespace}", f"have an admin run {mend}"
        return
    if ("ServiceAccount", profile.service_account) in around.missing:
        yield (
            f"there is no service account {profile.service_account} in {around.namespace}",
            f"have an admin run {mend}",
        )
    if ("PriorityClass", profile.priority_class) in around.missing:
        message = f"there is no priority class {profile.priority_class}"
        yield message, "correct priority-class in the profile; see kubectl get priorityclass"
    if ("Secret", profile.store.secret) in around.missing:
        make = f"make it: {secret_command(profile.store.secret, around.namespace)}"
        yield (
            f"there is no secret {profile.store.secret} in {around.namespace}, which gives pods the store's keys",
            make,
        )


# -- what can never be scheduled ---------------------------------------------------------------------------------------


def _beyond_quota(wanted: Amounts, around: Surroundings) -> Iterator[Finding]:
    for quota in around.capacity.quotas:
        if quota.scoped:
            continue
        for name, amount in wanted.items():
            keys = (f"requests.{name}", f"limits.{name}", name)
            hard = min((quota.hard[key] for key in keys if key in quota.hard), default=None)
            if hard is not None and amount > hard:
                message = (
                    f"asks for {shown(name, amount)}, and the quota {quota.name} of {around.namespace} allows "
                    f"{shown(name, hard)} in all"
                )
                yield "error", "beyond-quota", option_of(name), message, f"ask for at most {shown(name, hard)}"
    for limit in around.capacity.limits:
        if limit.type not in ("Container", "Pod"):
            continue
        for name, amount in wanted.items():
            most, least = limit.most.get(name), limit.least.get(name)
            where = f"the limit range {limit.name} of {around.namespace}"
            if most is not None and amount > most:
                message = f"asks for {shown(name, amount)}, and {where} allows at most {shown(name, most)}"
                yield "error", "beyond-limit", option_of(name), message, f"ask for at most {shown(name, most)}"
            if least is not None and amount < least and limit.type == "Container":
                message = f"asks for {shown(name, amount)}, and {where} wants at least {shown(name, least)}"
                yield "error", "below-limit", option_of(name), message, f"ask for {shown(name, least)}"


def _fits_no_node(options: StepOptions, wanted: Amounts, capacity: Capacity) -> Iterator[Finding]:
    severity: Severity = "warning" if capacity.elastic else "error"
    nodes = [node for node in capacity.nodes if _selected(node, options)]
    if not nodes:
        yield from _no_such_node(options, capacity, severity)
        return
    tolerated = [node for node in nodes if all(_tolerates(options, node, one.key) for one in node.taints)]
    if not tolerated:
        taint = next(str(one) for node in nodes for one in node.taints)
        message = f"every node it could use has a taint that it does not tolerate, such as {taint}"
        yield severity, "not-tolerated", "toleration", message, f"add toleration {taint}"
        return
    for name, amount in wanted.items():
        if is_device(name) and not any(name in node.allocatable for node in tolerated):
            known = ", ".join(capacity.devices) or "none"
            yield severity, "no-such-device", "gpu", f"no node has {name}", f"there are: {known}"
            return
        most = max(node.allocatable.get(name, 0.0) for node in tolerated)
        if amount > most:
            message = f"asks for {shown(name, amount)}, and no node it could use has more than {shown(name, most)}"
            hint = f"ask for less than {shown(name, most)}" if not is_device(name) else f"ask for at most {most:g}"
            yield severity, "beyond-nodes", option_of(name), message, hint
            return
    if not any(_holds(node, wanted) for node in tolerated):
        asked = " and ".join(
            shown(name, amount) + (f" {name}" if is_device(name) else "") for name, amount in wanted.items()
        )
        yield severity, "beyond-nodes", "cpu", f"no single node has {asked}", "ask for less of one of them"


def _no_such_node(options: StepOptions, capacity: Capacity, severity: Severity) -> Iterator[Finding]:
    if options.gpu_type and not any(node.product == options.gpu_type for node in capacity.nodes):
        known = sorted({node.product for node in capacity.nodes if node.product})
        near = closest(options.gpu_type, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none with a label'}"
        yield severity, "no-such-node", "gpu-type", f"no node has a GPU of type {options.gpu_type}", hint
        return
    labels = ", ".join(f"{key}={value}" for key, value in options.node_selector.items())
    hint = "see kubectl get nodes --show-labels"
    yield severity, "no-such-node", "node-selector", f"no node has the label {labels}" if labels else "no nodes", hint


def _selected(node: NodeCapacity, options: StepOptions) -> bool:
    if options.gpu_type and node.product != options.gpu_type:
        return False
    return _has(node.labels, options.node_selector)


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def _tolerates(options: StepOptions, node: NodeCapacity, key: str) -> bool:
    """Tell whether a step tolerates the taints of a node with this key."""
    if key in options.gpu:
        # Nodes with devices are often tainted by the device's name; who asks for it is let in.
        return True
    taints = [one for one in node.taints if one.key == key]
    return all(
        any(_fits(toleration, one.value, one.effect, key) for toleration in options.toleration) for one in taints
    )


def _fits(toleration: Toleration, value: str, effect: str, key: str) -> bool:
    same = toleration.key == key and toleration.value in (None, value)
    return same and toleration.effect in ("", effect)


def _holds(node: NodeCapacity, wanted: Amounts) -> bool:
    return all(node.allocatable.get(name, 0.0) >= amount for name, amount in wanted.items())


def _place(pipeline: Pipeline, step: Step) -> Place:
    cell = step.unit.cells[0] if step.unit.cells else None
    return Place(pipeline.notebook.path, cell.number, cell.id) if cell else Place(pipeline.notebook.path)
