"""Is it a Python notebook?"""

from __future__ import annotations

from typing import Any

_PYTHON = ("python", "ipython", "cpython", "xpython", "pypy", "pyodide", "pyolite")
_KERNELS = {
    "ir": "R",
    "julia": "Julia",
    "bash": "Bash",
    "javascript": "JavaScript",
    "jslab": "JavaScript",
    "tslab": "TypeScript",
    "deno": "TypeScript",
    "scala": "Scala",
    "almond": "Scala",
    "spylon": "Scala",
    "xcpp": "C++",
    "gophernotes": "Go",
    "rust": "Rust",
    "ruby": "Ruby",
    "octave": "Octave",
    "matlab": "MATLAB",
    "java": "Java",
    "kotlin": "Kotlin",
    ".net-csharp": "C#",
    ".net-fsharp": "F#",
    ".net-powershell": "PowerShell",
    "haskell": "Haskell",
    "sagemath": "SageMath",
    "sos": "SoS",
}


def foreign_language(metadata: dict[str, Any]) -> str:
    """Return the language of a notebook that is not Python, or "" (also where nothing is said)."""
    spec, info = metadata.get("kernelspec"), metadata.get("language_info")
    said = [
        spec.get("language") if isinstance(spec, dict) else None,
        info.get("name") if isinstance(info, dict) else None,
    ]
    languages = [one for one in said if isinstance(one, str) and one]
    foreign = [one for one in languages if one.casefold().rstrip("0123456789. ") not in _PYTHON]
    if foreign:
        return foreign[0]
    kernel = spec.get("name") if isinstance(spec, dict) else None
    return _known_kernel(kernel) if not languages and isinstance(kernel, str) else ""


def _known_kernel(name: str) -> str:
    word = name.casefold()
    for prefix, language in _KERNELS.items():
        rest = word[len(prefix) :]
        if word.startswith(prefix) and (not rest or not rest[0].isalpha()):
            return language
    return ""
