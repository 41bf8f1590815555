"""Amounts as people write them: Kubernetes quantities, counts of devices, durations.

The grammar of a quantity is Kubernetes' own: a decimal number, then one binary suffix (Ki Mi Gi Ti Pi Ei), one decimal
suffix (n u m k M G T P E) or a decimal exponent (e3). Texts are kept as they are written; values are exact fractions.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
_DECIMAL |= {letter: Fraction(10 ** (3 * power)) for power, letter in enumerate("kMGTPE", 1)}
_SUFFIXES: dict[str, Fraction] = _DECIMAL | {suffix: Fraction(size) for suffix, size in _BINARY.items()}
_NUMBER = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(.*)", re.DOTALL)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,3})")
_MEANT = re.compile(r"(?i)\s*([kmgtpe])(i?)(b|bytes?|ytes?)?\s*")
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,8})m)?(?:([0-9]{1,9})s)?")
_DEVICE = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?\.[a-z]+/[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")

MAX_CPU = 10_000
MIN_MEMORY = 2**20
MAX_MEMORY = 2**50
MAX_DEVICES = 16
MAX_SECONDS = 366 * 24 * 3600


class AmountError(ValueError):
    """What is wrong with an amount; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


def quantity(text: str) -> Fraction:
    """Return the exact value of a Kubernetes quantity.

    Raises:
        AmountError: not in the grammar of quantities.
    """
    match = _NUMBER.fullmatch(text)
    if not match or len(text) > 100:
        raise AmountError(f"{_shown(text)} is no quantity", _correction(text))
    sign, number, suffix = match.groups()
    value = Fraction("0" + number if number.startswith(".") else number.rstrip("."))
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent:
        value *= Fraction(10) ** int(exponent.group(1))
    elif suffix in _SUFFIXES:
        value *= _SUFFIXES[suffix]
    else:
        raise AmountError(f"{_shown(text)} is no quantity: {_shown(suffix)} is no unit", _correction(text))
    return -value if sign == "-" else value


def cpu(text: str) -> str:
    """Check a CPU request: cores or thousandths (`2`, `0.5`, `500m`); return it as written."""
    value = quantity(text)
    if value <= 0:
        raise AmountError(f"{text} CPUs: the amount must be more than 0", _positive(text, "1"))
    if value < Fraction(1, 1000):
        raise AmountError(f"{text} CPUs is less than 1m, the smallest share", "write 1m or more, e.g. 500m")
    if value > MAX_CPU:
        raise AmountError(f"{text} CPUs is more than any machine has", "write a number such as 4 or 500m")
    return text


def memory(text: str) -> str:
    """Check an amount of memory or disk in bytes (`4Gi`, `512Mi`, `2G`); return it as written."""
    value = quantity(text)
    if value <= 0:
        raise AmountError(f"{text} bytes: the amount must be more than 0", _positive(text, "4Gi"))
    if value < MIN_MEMORY:
        raise AmountError(f"{text} is {_bytes(value)}, too little for any program", f"did you mean {_larger(text)}?")
    if value > MAX_MEMORY:
        raise AmountError(f"{text} is more than any machine has", "write an amount such as 4Gi")
    return text


def devices(text: str) -> tuple[str, int]:
    """Return (resource name, count) of a device request: `1` (NVIDIA) or `amd.com/gpu=2`."""
    name, equals, count = text.rpartition("=")
    if equals and not _DEVICE.fullmatch(name):
        hint = f"write {_vendor(name)}={count}, or the count alone for NVIDIA"
        raise AmountError(f"{_shown(name)} is no name of a device", hint)
    if not re.fullmatch(r"[0-9]{1,6}", count):
        raise AmountError(f"{_shown(count)} is no count of devices", _whole(count))
    number = int(count)
    if number > MAX_DEVICES:
        hint = f"write at most {MAX_DEVICES}; the option workers spreads a step over several machines"
        raise AmountError(f"{number} devices are more than one machine has", hint)
    return (name or "nvidia.com/gpu"), number


def duration(text: str) -> float:
    """Return the seconds of a duration: `90s`, `10m`, `1h`, `1h30m`."""
    match = _DURATION.fullmatch(text)
    if not match or not text:
        raise AmountError(f"{_shown(text)} is no duration", _duration_hint(text))
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not 0 < total <= MAX_SECONDS:
        what = "the time must be more than 0" if not total else "more than a year"
        raise AmountError(f"{text}: {what}", "write e.g. 90s, 10m, 1h or 1h30m")
    return float(total)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 40 else f"{text[:30]!r}…"


def _positive(text: str, example: str) -> str:
    rest = text.lstrip("+-")
    return f"write {rest}" if text.startswith("-") and quantity(rest) > 0 else f"write e.g. {example}, or leave it out"


def _larger(text: str) -> str:
    number = text.rstrip("numkKi")
    return f"{number}{'Mi' if text.endswith(('m', 'k', 'Ki')) else 'Gi'}"


def _bytes(value: Fraction) -> str:
    return f"{float(value):g} bytes"


def _correction(text: str) -> str:
    """Return what was probably meant: `1.5GiB` -> `1.5Gi`, Arabic digits -> ASCII ones."""
    plain = "".join(str(unicodedata.digit(char)) if not char.isascii() and char.isdigit() else char for char in text)
    plain = plain.strip().replace(",", ".").replace("_", "")
    match = _NUMBER.fullmatch(plain)
    if match and len(plain) <= 40:
        number, rest = match.group(1) + match.group(2), match.group(3)
        if rest.strip() in _SUFFIXES:
            return f"write {number}{rest.strip()}"
        unit = _MEANT.fullmatch(rest)
        if unit and rest.strip() != "e":
            letter = unit.group(1)
            known = letter.upper() + "i" if unit.group(2) else "k" if letter in "kK" else letter.upper()
            return f"write {number}{known}"
        if set(rest.strip()) == {"m"}:
            return f"write {number}m (thousandths), {number}M or {number}Mi"
    return "write a number with a unit such as 4Gi, 512Mi, 2G; for CPUs 2 or 500m"


def _vendor(name: str) -> str:
    for vendor in ("amd", "intel", "nvidia"):
        if vendor in name.casefold():
            return {"intel": "gpu.intel.com/i915"}.get(vendor, f"{vendor}.com/gpu")
    return "amd.com/gpu"


def _whole(count: str) -> str:
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
    if count.strip().casefold() in words:
        return f"write {words.index(count.strip().casefold())}"
    if re.fullmatch(r"[0-9]*\.[0-9]+", count):
        return "devices cannot be shared: write 1 or another whole number"
    return "write a whole number such as 1, or a device with its count such as amd.com/gpu=2"


def _duration_hint(text: str) -> str:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return f"say the unit: {text}s, {text}m or {text}h"
    days = re.fullmatch(r"([0-9]{1,3})\s*d(?:ays?)?", text)
    if days:
        return f"write {int(days.group(1)) * 24}h"
    spaced = re.sub(r"\s+|ours?|in(?:utes?|s)?|ec(?:onds?|s)?", "", text.casefold())
    if spaced != text and spaced and _DURATION.fullmatch(spaced):
        return f"write {spaced}"
    return "write e.g. 90s, 10m, 1h or 1h30m"
