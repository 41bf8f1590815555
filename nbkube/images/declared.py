"""Requirements that a person has written down: lock files, requirements files, pyproject.toml, the notebook itself."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.errors import BuildError
from nbkube.images.model import Requirement

FILES = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml")
_BYTES = 8 << 20


def in_files(folder: Path, root: Path, export: Callable[[Path], str]) -> tuple[Requirement, ...] | None:
    """Return what the nearest file that names requirements says, from `folder` up to `root`; None without one.

    Args:
        folder: the notebook's.
        root: the project's.
        export: returns the pins of a folder's uv.lock.

    Raises:
        BuildError: the file cannot be read.
    """
    for place in (folder, *folder.parents):
        for name in FILES:
            path = place / name
            if path.is_file():
                found = _read(path, root, export)
                if found is not None:
                    return found
        if place == root:
            break
    return None


def _read(path: Path, root: Path, export: Callable[[Path], str]) -> tuple[Requirement, ...] | None:
    shown = path.relative_to(root).as_posix()
    if path.name == "uv.lock":
        return tuple(lines(export(path.parent), shown, path.parent, root))
    if path.name == "requirements.txt":
        return tuple(lines(_text(path, shown), shown, path.parent, root))
    document = _toml(path, shown)
    if path.name == "pylock.toml":
        return tuple(_locked(document, shown))
    project = document.get("project")
    if not isinstance(project, dict) or "dependencies" not in project:
        return None
    return tuple(checked(str(one), shown) for one in project["dependencies"])


def _locked(document: Mapping[str, Any], shown: str) -> Iterable[Requirement]:
    for package in document.get("packages", ()):
        if not isinstance(package, dict) or "version" not in package:
            continue  # the project itself
        marker = f" ; {package['marker']}" if package.get("marker") else ""
        yield checked(f"{package.get('name')}=={package['version']}{marker}", shown)


def lines(text: str, shown: str, folder: Path, root: Path, depth: int = 0) -> Iterable[Requirement]:
    """Yield what the lines of a requirements file ask of an index; `shown` is how people call the file."""
    if depth > 8:
        raise BuildError(f"{shown} includes itself. Fix: take the line -r out.")
    joined = re.sub(r"\\\r?\n", " ", text)
    for number, raw in enumerate(joined.splitlines(), 1):
        line = re.sub(r"(?:^|\s)#.*$", "", raw).strip()
        line = re.sub(r"\s+--hash[= ]\S+", "", line)
        if not line:
            continue
        place = f"{shown}:{number}"
        if match := re.match(r"(?:-r|--requirement|-c|--constraint)[ =]*(\S+)$", line):
            if line.startswith(("-r", "--r")):
                yield from lines(*included(match[1], folder, root, place), depth + 1)
        elif re.match(r"(?:-e|--editable)\b|\.{0,2}/", line) or line == ".":
            continue  # a module of the project: it travels with the project's files
        elif line.startswith("-"):
            continue  # where to look is the environment's business: see `index_note`
        else:
            yield checked(line, place)


def included(name: str, folder: Path, root: Path, place: str) -> tuple[str, str, Path, Path]:
    """Return what `lines` takes for a file that another includes.

    Raises:
        BuildError: it is not in the project.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise BuildError(f"{place}: there is no file {name} in the project. Fix: correct the line.")
    return _text(path, name), name, path.parent, root


def in_metadata(metadata: Mapping[str, Any], shown: str) -> tuple[tuple[Requirement, ...], frozenset[str]]:
    """Return what the notebook's metadata `nbkube.requirements` adds, and the distributions it takes away ("-NAME").

    Raises:
        BuildError: it is no list of requirements.
    """
    own = metadata.get("nbkube")
    written = own.get("requirements", []) if isinstance(own, dict) else []
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise BuildError(f'{shown}: nbkube.requirements is no list of texts. Fix: write e.g. ["pandas>=2", "-lxml"].')
    return corrections(written, f"{shown}: metadata")


def corrections(written: Iterable[str], origin: str) -> tuple[tuple[Requirement, ...], frozenset[str]]:
    """Split requirements from distributions to leave out, which begin with a dash."""
    from nbkube.images.plan import normal_name

    added, removed = [], set()
    for one in written:
        if one.startswith("-"):
            removed.add(normal_name(one[1:].strip()))
        else:
            added.append(checked(one, origin))
    return tuple(added), frozenset(removed)


def checked(text: str, origin: str) -> Requirement:
    """Return a requirement on something that an index has.

    Raises:
        BuildError: it is no requirement, or names an address or a folder.
    """
    from packaging.requirements import InvalidRequirement
    from packaging.requirements import Requirement as Parsed

    try:
        parsed = Parsed(text)
    except InvalidRequirement as error:
        first = str(error).splitlines()[0]
        raise BuildError(
            f"{origin}: {_clean(text)!r} is no requirement ({_clean(first)}). Fix: write pandas>=2."
        ) from None
    if parsed.url:
        raise BuildError(
            f"{origin}: {parsed.name} comes from an address, which may change. Fix: build its wheel "
            f"(pip wheel --no-deps … -w wheels), set UV_FIND_LINKS=wheels, and require {parsed.name} by its version."
        )
    return Requirement(str(parsed), origin)


def name_of(requirement: str) -> str:
    """Return the normalised name of the distribution that is required."""
    from packaging.requirements import Requirement as Parsed

    from nbkube.images.plan import normal_name

    return normal_name(Parsed(requirement).name)


def _clean(text: str) -> str:
    """Return text without passwords, short enough to show."""
    return re.sub(r"://[^/\s@]+@", "://", text)[:120]


def _text(path: Path, shown: str) -> str:
    try:
        data = path.read_bytes()
        if len(data) > _BYTES:
            raise BuildError(f"{shown} is larger than 8 MiB. Fix: is it the right file?")
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{shown} cannot be read ({error}). Fix: save it as UTF-8.") from None


def _toml(path: Path, shown: str) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path, shown))
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{shown} is no TOML: {error}. Fix: correct it.") from None


class Table(msgspec.Struct, frozen=True):
    """A library that another needs for a kind of call, without an import anyone could see."""

    owner: str
    pattern: str
    needs: str


PLUGINS = (
    Table("pandas", r"\b(?:read|to)_(?:parquet|feather|orc)\b", "pyarrow"),
    Table("pandas", r"\b(?:read_excel|to_excel|ExcelWriter)\b", "openpyxl"),
    Table("pandas", r"\bread_(?:html|xml)\b|\bto_xml\b", "lxml"),
    Table("pandas", r"\b(?:read|to)_hdf\b|\bHDFStore\b", "tables"),
    Table("pandas", r"\b(?:read|to)_sql\b", "sqlalchemy"),
    Table("pandas", r"\.to_markdown\b", "tabulate"),
    Table("pandas", r"\.style\b", "jinja2"),
    Table("pandas", r"\.(?:plot|hist|boxplot)\b", "matplotlib"),
    Table("pandas", r"['\"]s3://", "s3fs"),
    Table("pandas", r"['\"]gs://", "gcsfs"),
    Table("xarray", r"\bopen_(?:dataset|mfdataset)\b", "netcdf4"),
)
