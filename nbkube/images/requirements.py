"""What the steps of a notebook need: from files where there are some, else from what they import.

A step needs what its own cells import, what is replayed before them, what the project's modules that it imports need,
and what the steps before it need whose values reach it: those values are loaded by the same libraries.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from nbkube.dataflow.model import Dependency
from nbkube.dataflow.parse import parse_cell
from nbkube.decoding import from_json
from nbkube.errors import BuildError, Diagnostic, Place
from nbkube.images import declared
from nbkube.images.model import Environment, Requirement
from nbkube.images.plan import normal_name
from nbkube.notebook.model import Cell, Notebook
from nbkube.runtime.distributions import installed
from nbkube.runtime.program import StepProgram

_INSTALL = re.compile(r"^\s*(?:%|!)\s*(?:\S*python[\d.]*\s+-m\s+|uv\s+)?(pip[\d.]*|conda|mamba)\s+install\s+(.*)$")
_ASKS_PIP = re.compile(r"^\s*(?:%|!)\s*(?:\S*python[\d.]*\s+-m\s+)?pip[\d.]*\s+(?!install\b|uninstall\b)")
"""A line that looks at the environment (`%pip list`): pip has to be there, though no code imports it."""
_VALUED = ("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links",
           "-t", "--target", "--python", "-n", "--name", "--channel")  # fmt: skip
_OURS = frozenset({"nbkube"})


class Use(msgspec.Struct, frozen=True):
    """A module that code imports: its dotted name, where, and whether the code copes without it."""

    module: str
    origin: str
    optional: bool = False


class Project(msgspec.Struct, frozen=True):
    """What is looked at: the project's folder and the notebook in it, as pieces that steps are made of."""

    root: Path
    notebook: Notebook
    path: str
    programs: tuple[StepProgram, ...]
    edges: tuple[Dependency, ...]


def environments(project: Project, export: Callable[[Path], str], extra: Sequence[str] = ()) -> tuple[Environment, ...]:
    """Return the distinct environments of a notebook's steps, in notebook order.

    Args:
        project: what to look at.
        export: returns the pins of a folder's uv.lock.
        extra: requirements to add, and "-NAME" for distributions to leave out, as the person asking says.

    Raises:
        BuildError: something cannot be told, all of it at once; or a file is wrong.
    """
    folder = (project.root / project.path).parent
    added, removed = declared.in_metadata(project.notebook.metadata, project.path)
    more, less = declared.corrections(extra, "asked for")
    removed |= less
    from_files = declared.in_files(folder, project.root, export)
    scan = _Scan(project, removed)
    per_step = scan.steps(imports=from_files is None)
    scan.check()
    found: dict[tuple[Requirement, ...], list[str]] = {}
    for program, own in zip(project.programs, per_step, strict=True):
        chosen: dict[str, Requirement] = {}
        for one in (*own, *(from_files or ()), *added, *more):
            name = declared.name_of(one.text)
            if name not in removed and name not in _OURS:
                chosen[f"{name} {_marker(one.text)}"] = one  # what is said later, and by a person, wins
        key = tuple(sorted(chosen.values(), key=lambda one: one.text.lower()))
        found.setdefault(key, []).append(program.unit)
    return _merged(found, tuple(scan.notes))


def _marker(text: str) -> str:
    return text.partition(";")[2].strip()


def _merged(found: Mapping[tuple[Requirement, ...], list[str]], notes: tuple[str, ...]) -> tuple[Environment, ...]:
    """Join environments of which one has all that another has: fewer images, and steps that can share a pod."""
    kept: list[tuple[frozenset[str], tuple[Requirement, ...], list[str]]] = []
    for requirements, steps in sorted(found.items(), key=lambda one: -len(one[0])):
        texts = frozenset(one.text for one in requirements)
        home = next((one for one in kept if texts <= one[0]), None)
        if home is None:
            kept.append((texts, requirements, list(steps)))
        else:
            home[2].extend(steps)
    return tuple(Environment(tuple(steps), requirements, notes) for _, requirements, steps in kept)


class _Scan:
    """One look at all steps; faults are collected."""

    def __init__(self, project: Project, removed: frozenset[str]) -> None:
        self._project = project
        self._installed = installed()
        self._removed = removed
        self._found: dict[str, tuple[str, str | None]] = {}
        self._modules: dict[Path, tuple[Use, ...]] = {}
        self._faults: dict[str, Diagnostic] = {}
        self.notes: dict[str, None] = {}

    def check(self) -> None:
        """Raise what was found wrong."""
        if self._faults:
            raise BuildError(diagnostics=self._faults.values())

    def steps(self, *, imports: bool) -> list[tuple[Requirement, ...]]:
        """Return each step's requirements, by name; those of `%pip` lines even where imports are not looked at."""
        own: list[dict[str, Requirement]] = []
        for at, program in enumerate(self._project.programs):
            needed: dict[str, Requirement] = {}
            for edge in self._project.edges:
                if edge.consumer == at:
                    needed |= own[edge.producer]
            if imports:
                for use in self._uses(program):
                    for one in self._providers(use):
                        needed.setdefault(declared.name_of(one.text), one)
                needed |= self._plugins(program, needed)
            needed |= {declared.name_of(one.text): one for one in self._installs(program)}
            own.append(needed)
        # What a set-up cell installs is there for all.
        for before, after in zip(own, own[1:], strict=False):
            for name, one in before.items():
                if "install" in one.origin:
                    after.setdefault(name, one)
        return [tuple(one.values()) for one in own]

    # -- code ------------------------------------------------------------------------------------------------------

    def _cells(self, program: StepProgram) -> Iterable[tuple[str, str]]:
        for one in program.replay:
            yield one.source, f"{self._project.path}:cell {one.cell}"
        for cell in program.cells:
            yield cell.source, f"{self._project.path}:cell {cell.number}"

    def _uses(self, program: StepProgram) -> list[Use]:
        found: list[Use] = []
        for source, origin in self._cells(program):
            tree = parse_cell(_cell(source)).tree
            if tree is not None:
                found += _imports(tree, origin)
        waiting, seen = list(found), {one.module for one in found}
        while waiting:
            use = waiting.pop()
            path = self._local(use.module)
            for one in self._of_module(path) if path else ():
                found.append(one)
                if one.module not in seen:
                    seen.add(one.module)
                    waiting.append(one)
        return found

    def _local(self, module: str) -> Path | None:
        """Return the project's file of a module; the project comes before what is installed."""
        parts = module.split(".")
        folders = dict.fromkeys(
            [(self._project.root / self._project.path).parent, self._project.root, self._project.root / "src"]
        )
        for folder in folders:
            for count in range(len(parts), 0, -1):
                place = folder.joinpath(*parts[:count])
                for path in (place.with_suffix(".py"), place / "__init__.py"):
                    if path.is_file():
                        return path
            if (folder / parts[0]).is_dir() and any((folder / parts[0]).glob("*.py")):
                return folder / parts[0]
        return None

    def _of_module(self, path: Path) -> tuple[Use, ...]:
        if path not in self._modules:
            self._modules[path] = ()
            found: list[Use] = []
            files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
            files = sorted(path.glob("*.py")) if path.is_dir() else files
            for file in files[:2000]:
                try:
                    tree = ast.parse(file.read_bytes())
                except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                    continue  # whoever imports it is told
                shown = file.relative_to(self._project.root).as_posix()
                found += _imports(tree, shown)
            self._modules[path] = tuple(found)
        return self._modules[path]

    # -- modules to distributions ----------------------------------------------------------------------------------

    def _providers(self, use: Use) -> list[Requirement]:
        top = use.module.partition(".")[0]
        if top in sys.stdlib_module_names or top in _OURS or self._local(use.module):
            return []
        owners = self._installed.owners.get(top, ())
        if len(owners) > 1:
            owners = tuple(one for one in owners if _holds(one, use.module)) or owners
        if not owners:
            self._unknown(use, top)
        return [one for name in owners if (one := self._pinned(name, use)) is not None]

    def _pinned(self, name: str, use: Use) -> Requirement | None:
        if name not in self._found:
            self._found[name] = _version(name), _editable(name)
        version, outside = self._found[name]
        if outside is None:
            return Requirement(f"{name}=={version}", f"{use.origin}: import {use.module}")
        if outside and Path(outside).resolve().is_relative_to(self._project.root.resolve()):
            return None  # travels with the project's files
        if name not in self._removed and not use.optional:
            what = f"{name} is installed from {'a folder outside the project' if outside else 'an address'}"
            hint = f"pip wheel --no-deps -w wheels …, set UV_FIND_LINKS=wheels, and require {name}=={version}"
            self._fault(f"install {name}", use, what, hint)
        return None

    def _unknown(self, use: Use, top: str) -> None:
        if use.optional:
            return
        hint = 'install it here, or name what has it in the notebook\'s metadata: "nbkube": {"requirements": ["…"]}'
        self._fault(f"import {top}", use, f"no installed distribution has the module {top}", hint)

    def _fault(self, key: str, use: Use, message: str, hint: str) -> None:
        self._faults.setdefault(key, Diagnostic("error", "unknown-requirement", Place(use.origin), message, hint))

    def _plugins(self, program: StepProgram, needed: Mapping[str, Requirement]) -> dict[str, Requirement]:
        text = "\n".join(source for source, _ in self._cells(program))
        found = {}
        for one in declared.PLUGINS:
            match = re.search(one.pattern, text) if one.owner in needed and one.needs not in needed else None
            if match is None:
                continue
            if version := self._installed.versions.get(one.needs, "").partition("+")[0]:
                origin = f"{one.owner} needs it for {match[0].strip('.')}"
                found[one.needs] = Requirement(f"{one.needs}=={version}", origin)
        return found

    # -- installs in cells -----------------------------------------------------------------------------------------

    def _installs(self, program: StepProgram) -> list[Requirement]:
        found: list[Requirement] = []
        for source, origin in self._cells(program):
            for line in source.splitlines():
                if match := _INSTALL.match(line):
                    found += self._installed_by(match[1], match[2], f"{origin}: install")
                elif _ASKS_PIP.match(line) and (version := self._installed.versions.get("pip")):
                    found.append(Requirement(f"pip=={version}", f"{origin}: asks pip"))
        return found

    def _installed_by(self, tool: str, rest: str, origin: str) -> list[Requirement]:
        if not tool.startswith("pip"):
            self.notes[f"{origin}: what {tool} installs is not on a package index; put it into the base image"] = None
            return []
        words = iter(rest.replace('"', "").replace("'", "").split(" #")[0].split())
        found: list[Requirement] = []
        for word in words:
            if word in ("-r", "--requirement"):
                folder = (self._project.root / self._project.path).parent
                given = declared.included(next(words, ""), folder, self._project.root, origin)
                found += declared.lines(*given)
            elif word in ("-i", "--index-url", "--extra-index-url", "-f", "--find-links"):
                next(words, "")
                self.notes[f"{origin}: {word} is not taken from notebooks; set UV_INDEX or UV_FIND_LINKS"] = None
            elif word in _VALUED:
                next(words, "")
            elif word.startswith(("-", "./", "../", "/")) or word in (".", ".."):
                continue
            elif "{" in word or word.startswith("$"):
                self.notes[f"{origin}: {word} is known only when the cell runs; name it in nbkube.requirements"] = None
            else:
                found.append(self._exact(declared.checked(word, origin)))
        return found

    def _exact(self, one: Requirement) -> Requirement:
        """Keep to the installed version where the line leaves it open."""
        name = declared.name_of(one.text)
        version = self._installed.versions.get(name, "").partition("+")[0]
        return Requirement(f"{one.text}=={version}", one.origin) if normal_name(one.text) == name and version else one


def _cell(source: str) -> Cell:
    return Cell(1, 1, "", source)


def _imports(tree: ast.AST, origin: str) -> list[Use]:
    found: list[Use] = []
    guarded: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and any(_catches_import(one) for one in node.handlers):
            guarded.update(inner for statement in node.body for inner in ast.walk(statement))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            guarded.update(inner for statement in node.body for inner in ast.walk(statement))
        for module in _named(node):
            found.append(Use(module, origin, node in guarded))
    return found


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [f"{node.module}.{one.name}" if one.name != "*" else node.module for one in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in (
        "importlib.import_module",
        "import_module",
        "__import__",
    ):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith("."):
            return [first.value]
    return []


def _catches_import(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return bool(re.search(r"ImportError|ModuleNotFoundError|\bException\b", ast.unparse(handler.type)))


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _holds(name: str, module: str) -> bool:
    """Tell whether a distribution has a submodule; several may share a namespace such as `google`."""
    parts = module.split(".")
    try:
        paths = [str(one) for one in metadata.files(name) or ()]
    except metadata.PackageNotFoundError:
        return False
    for count in range(len(parts), 1, -1):
        place = "/".join(parts[:count])
        if any(path.startswith((f"{place}/", f"{place}.")) for path in paths):
            return True
    return False


def _editable(name: str) -> str | None:
    """Return the folder that an installation was made from, "" for another address; None where it has neither."""
    try:
        text = metadata.distribution(name).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    if not text:
        return None
    try:
        origin: dict[str, Any] = from_json(text, dict[str, Any])
    except msgspec.MsgspecError:
        return None
    url = str(origin.get("url", ""))
    if "archive_info" in origin and url.startswith("file:"):
        return None  # a wheel: its version says what it is
    return url.removeprefix("file://") if url.startswith("file:") else ""
