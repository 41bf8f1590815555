from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.pipeline.quantities import AmountError, cpu, devices, duration, memory, quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("1", 1), ("+1", 1), ("-1", -1), ("1.5", Fraction(3, 2)), (".5", Fraction(1, 2)), ("1.", 1),
        ("500m", Fraction(1, 2)), ("1k", 1000), ("1M", 10**6), ("1G", 10**9), ("1T", 10**12), ("1P", 10**15),
        ("1E", 10**18), ("1Ki", 1024), ("1Mi", 2**20), ("1.5Gi", 3 * 2**29), ("1Ti", 2**40), ("1Pi", 2**50),
        ("1Ei", 2**60), ("1n", Fraction(1, 10**9)), ("1u", Fraction(1, 10**6)), ("1e3", 1000), ("1E3", 1000),
        ("12e-1", Fraction(6, 5)), ("1e+2", 100), ("0010", 10),
    ],
)  # fmt: skip
def test_values_of_quantities(text: str, value: Any) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1.5Gib", "write 1.5Gi"),
        ("1GiB", "write 1Gi"),
        ("1gi", "write 1Gi"),
        ("4GB", "write 4G"),
        ("4Gb", "write 4G"),
        ("4g", "write 4G"),
        ("4kb", "write 4k"),
        ("4KiB", "write 4Ki"),
        ("4 Gi", "write 4Gi"),
        (" 4Gi", "write 4Gi"),
        ("1,5Gi", "write 1.5Gi"),
        ("1_000", "write 1000"),
        ("٤Gi", "write 4Gi"),
        ("４Gi", "write 4Gi"),
        ("100mm", "write 100m (thousandths), 100M or 100Mi"),
        ("four", "write a number with a unit"),
        ("", "write a number with a unit"),
        ("Gi", "write a number with a unit"),
        ("1e", "write a number with a unit"),
        ("1e4000", "write a number with a unit"),
        ("0x10", "write a number with a unit"),
        ("1Gi1", "write a number with a unit"),
        ("--1", "write a number with a unit"),
        ("1.2.3", "write a number with a unit"),
        ("inf", "write a number with a unit"),
        ("NaN", "write a number with a unit"),
    ],
)
def test_what_is_no_quantity_and_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(AmountError, match="is no quantity") as caught:
        quantity(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("check", "text", "says", "hint"),
    [
        (cpu, "0", "more than 0", "write e.g. 1"),
        (cpu, "-1", "more than 0", "write 1"),
        (cpu, "0.1m", "less than 1m", "500m"),
        (cpu, "1e400", "more than any machine", "such as 4"),
        (memory, "0", "more than 0", "write e.g. 4Gi"),
        (memory, "-4Gi", "more than 0", "write 4Gi"),
        (memory, "4", "too little", "did you mean 4Gi?"),
        (memory, "100m", "too little", "did you mean 100Mi?"),
        (memory, "512k", "too little", "did you mean 512Mi?"),
        (memory, "1e400", "more than any machine", "such as 4Gi"),
        (memory, "2Ei", "more than any machine", "such as 4Gi"),
    ],
)
def test_amounts_no_machine_can_give(check: Callable[[str], str], text: str, says: str, hint: str) -> None:
    with pytest.raises(AmountError, match=says) as caught:
        check(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("1", ("nvidia.com/gpu", 1)),
        ("0", ("nvidia.com/gpu", 0)),
        ("amd.com/gpu=2", ("amd.com/gpu", 2)),
        ("nvidia.com/mig-1g.5gb=3", ("nvidia.com/mig-1g.5gb", 3)),
    ],
)
def test_devices(text: str, device: tuple[str, int]) -> None:
    assert devices(text) == device


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("-1", "whole number"),
        ("0.5", "cannot be shared"),
        ("two", "write 2"),
        ("64", "at most 16"),
        ("٢", "whole number"),
        ("amd=2", "write amd.com/gpu=2"),
        ("A100=1", "write amd.com/gpu=1"),
        ("=1", "the count alone"),
        ("amd.com/gpu=", "whole number"),
        ("1e2", "whole number"),
    ],
)
def test_what_is_no_device(text: str, hint: str) -> None:
    with pytest.raises(AmountError) as caught:
        devices(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1h30s", 3630), ("2h0m5s", 7205), ("0h5m", 300)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("90", "say the unit: 90s, 90m or 90h"),
        ("1d", "write 24h"),
        ("2 days", "write 48h"),
        ("1 hour", "write 1h"),
        ("10 min", "write 10m"),
        ("90sec", "write 90s"),
        ("1H", "write 1h"),
        ("0s", "write e.g. 90s"),
        ("", "write e.g. 90s"),
        ("-5m", "write e.g. 90s"),
        ("1.5h", "write e.g. 90s"),
        ("30m1h", "write e.g. 90s"),
        ("99999h", "write e.g. 90s"),
        ("forever", "write e.g. 90s"),
    ],
)
def test_what_is_no_duration(text: str, hint: str) -> None:
    with pytest.raises(AmountError) as caught:
        duration(text)
    assert hint in caught.value.hint


_SUFFIXES = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
_NUMBERS = st.from_regex(r"[+-]?([0-9]{1,12}(\.[0-9]{0,6})?|\.[0-9]{1,6})", fullmatch=True).filter(str.isascii)
_EXPONENTS = st.from_regex(r"[eE][+-]?[0-9]{1,2}", fullmatch=True).filter(str.isascii)
_GRAMMAR = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,3})?")


@given(_NUMBERS, _SUFFIXES | _EXPONENTS)
def test_the_whole_grammar_is_read(number: str, suffix: str) -> None:
    scale = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
    value = Fraction(number.rstrip(".") if not number.lstrip("+-").startswith(".") else number.replace(".", "0.", 1))
    if suffix.endswith("i"):
        value *= 1024 ** "KMGTPE".index(suffix[0]).__add__(1)
    elif suffix in scale:
        value *= Fraction(10) ** scale[suffix]
    else:
        value *= Fraction(10) ** int(suffix[1:])
    assert quantity(number + suffix) == value


@given(st.text(alphabet="0123456789.+-eEKMGimnuk ٣", max_size=8) | st.text(max_size=12))
def test_every_text_is_in_the_grammar_or_refused(text: str) -> None:
    valid = _GRAMMAR.fullmatch(text) is not None
    for check in (quantity, cpu, memory, devices, duration):
        try:
            check(text)
        except AmountError as error:
            hint = error.hint
            assert check is not quantity or not valid
        else:
            hint = "none needed"
            assert check is not quantity or valid
        assert hint


@given(st.text(alphabet="0123456789.GMKkib Bytes", max_size=10))
def test_a_correction_is_itself_a_quantity(text: str) -> None:
    try:
        quantity(text)
    except AmountError as error:
        found = re.fullmatch(r"write (\S+)", error.hint)
        corrected = found.group(1) if found else "1"
    else:
        corrected = text
    quantity(corrected)
