"""Where buffers lie in memory, and which pages of a mapped file were written to."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

_PAGE = mmap.PAGESIZE
# One byte of flags per page in /proc/self/pagemap: 0x80 present, 0x40 swapped, 0x20 still the file's own page.
# A copy-on-write page that was written to is present (or swapped) and no longer the file's.
_DIRTY = bytes(1 if byte & 0x40 or (byte & 0x80 and not byte & 0x20) else 0 for byte in range(256))


class _PyBuffer(ctypes.Structure):
    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


def address_of(view: memoryview | mmap.mmap) -> int:
    """Return the address of a contiguous buffer."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    address = buffer.buf or 0
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    return address


def written_pages(address: int, size: int) -> list[tuple[int, int]] | None:
    """Return spans (start, end), counted from `address`, that lie on pages written to; None where it cannot be told."""
    first, last = address // _PAGE, (address + size + _PAGE - 1) // _PAGE
    try:
        with open("/proc/self/pagemap", "rb", buffering=0) as file:
            file.seek(first * 8)
            raw = file.read((last - first) * 8)
    except OSError:
        return None
    if len(raw) != (last - first) * 8:
        return None
    flags = raw[7::8].translate(_DIRTY)
    spans = []
    page = flags.find(1)
    while page >= 0:
        end = flags.find(0, page)
        end = len(flags) if end < 0 else end
        start = (first + page) * _PAGE - address
        spans.append((max(start, 0), min((first + end) * _PAGE - address, size)))
        page = flags.find(1, end)
    return spans


def same_as_file(view: memoryview, path: Path, offset: int) -> bool:
    """Tell whether a part of a copy-on-write map still holds what the file holds; only written pages are compared."""
    spans = written_pages(address_of(view), view.nbytes)
    if spans is None:
        spans = [(0, view.nbytes)]
    if not spans:
        return True
    with path.open("rb") as file:
        for start, end in spans:
            for low in range(start, end, 1 << 20):
                high = min(low + (1 << 20), end)
                file.seek(offset + low)
                if file.read(high - low) != bytes(view[low:high]):
                    return False
    return True
