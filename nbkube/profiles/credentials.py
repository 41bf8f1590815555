"""Refusing credentials where none belong."""

from __future__ import annotations

import re

_KEYS = re.compile(r"(?i)(passw|secret-?key|secret-?access|access-?key|api-?key|token|credential|private-?key)")
_SHAPES = (
    re.compile(r"(?<![A-Z0-9])(?:AKIA|ASIA|AROA)[A-Z0-9]{12,}"),  # AWS access keys
    re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}"),  # JSON web tokens
    re.compile(r"-----BEGIN [A-Z ]*(?:KEY|CERTIFICATE)"),
    re.compile(r"(?<!\w)(?:gh[pousr]_|github_pat_|glpat-|xox[baprs]-|hf_|sk-)\w{16,}"),
    re.compile(r"://[^/\s@]+:[^/\s@]+@"),  # a password in a URL
    re.compile(r"(?i)[?&;](?:x-amz-(?:signature|credential)|sig|token|password)="),
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DENSE = re.compile(r"[A-Za-z0-9+/=_-]{32,}")


def names_credential(key: str) -> bool:
    """Tell whether a key is called like something secret, such as `password` or `secret-access-key`."""
    return _KEYS.search(key.replace("_", "-")) is not None


def looks_secret(value: str) -> bool:
    """Tell whether a text has the shape of a credential: a known key, a password in a URL, random letters."""
    text = _DIGEST.sub("", value)
    return any(shape.search(text) for shape in _SHAPES) or any(map(_is_random, _DENSE.findall(text)))


def _is_random(run: str) -> bool:
    # Names and paths are words; keys mix upper case, lower case and digits without them.
    if max(map(len, re.split(r"[/_=-]", run))) < 16:
        return False
    return all(re.search(kind, run) for kind in ("[A-Z]", "[a-z]", "[0-9]"))
