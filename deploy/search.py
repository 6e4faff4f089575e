# SPDX-License-Identifier: Apache-2.0
"""Look for a text in recordings, files and the memory of a process, in the forms it could have."""

import base64
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

# Parts of this length are looked for; shorter ones could stand in any program by chance.
PART_CHARACTERS = 24
MOST_PARTS = 16
# A row of dashes or blanks is in many a program.
LEAST_DIFFERENT = 6
BLOCK_BYTES, PAGE_BYTES = 1 << 20, 4096
REGION = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r")


@dataclass(frozen=True, slots=True)
class Needle:
    """One form of a text."""

    name: str
    form: str
    content: bytes


def forms(name: str, text: str) -> list[Needle]:
    """The forms a text could have: plain, wide, hexadecimal, and base64 at each of its three alignments."""
    plain = text.encode()
    found = [Needle(name, "UTF-8", plain), Needle(name, "UTF-16", text.encode("utf-16-le"))]
    found.append(Needle(name, "hexadecimal", plain.hex().encode()))
    for lead in range(3):
        # The first and last characters depend on the neighbours; what lies between does not.
        encoded = base64.b64encode(b"\0" * lead + plain)
        found.append(Needle(name, "base64", encoded[4 if lead else 0 : -4]))
    return found


def needles(name: str, text: str) -> list[Needle]:
    """What to look for: every form of the beginning, and parts spread over the rest."""
    step = max(PART_CHARACTERS // 2, len(text) // MOST_PARTS)
    starts = range(0, max(1, len(text) - PART_CHARACTERS + 1), step)
    parts = [text[start : start + PART_CHARACTERS] for start in starts]
    telling = [part for part in parts if len(set(part)) >= LEAST_DIFFERENT]
    if not telling:
        raise ValueError("the text says too little to be looked for")
    return forms(name, telling[0]) + [Needle(name, "part in UTF-8", part.encode()) for part in telling[1:]]


def search(haystack: bytes, wanted: list[Needle]) -> list[Needle]:
    """The needles that are in these bytes."""
    return [needle for needle in wanted if needle.content in haystack]


def search_files(folder: Path, wanted: list[Needle]) -> list[Needle]:
    """The needles that are in any file below a folder, or in a file's name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [needle for path in files for needle in search(path.read_bytes(), wanted)]
    return found + search("\n".join(map(str, files)).encode(), wanted)


def search_memory(process_id: int, wanted: list[Needle]) -> list[Needle]:
    """The needles that are in the memory of a process. Raises OSError where it may not be read."""
    found: set[Needle] = set()
    for window, size in memory(process_id, max(len(needle.content) for needle in wanted)):
        found.update(needle for needle in wanted if window.find(needle.content, 0, size) >= 0)
    return sorted(found, key=lambda needle: (needle.name, needle.form))


def hidden(content: bytes | bytearray | memoryview) -> bytes:
    """The same with all bits turned: what `count_hidden` looks for, and does not find in what it was told."""
    return bytes(255 - byte for byte in content)


def count_hidden(process_id: int, wanted: Sequence[bytes]) -> list[int]:
    """How often each needle is in the memory of a process, which may be this one.

    Needles come hidden. Raises OSError where the memory may not be read.
    """
    counts = [0] * len(wanted)
    for window, size in memory(process_id, max(map(len, wanted))):
        turned = np.frombuffer(window, np.uint8)
        np.invert(turned, out=turned)
        for which, needle in enumerate(wanted):
            # What begins in the overlap is counted with the next piece.
            counts[which] += window.count(needle, 0, min(size, BLOCK_BYTES + len(needle) - 1))
    return counts


def memory(process_id: int, overlap_bytes: int) -> Iterator[tuple[bytearray, int]]:
    """The readable memory of a process, in pieces that overlap: a window onto it, and how much that shows.

    The window is always the same, is made before the regions are known, and shows nothing of itself, so that
    a search of this process never meets a copy that the search has made. It is overwritten in the end.
    """
    window = bytearray(BLOCK_BYTES + overlap_bytes)
    try:
        with Path(f"/proc/{process_id}/mem").open("rb", buffering=0) as file:
            for start, end in regions(process_id, left_out=window):
                position = start
                while position < end:
                    size = read_into(window, file, position, end)
                    yield window, size
                    # What is no longer there, or is beyond the end of a mapped file, cannot be read.
                    position += min(size, BLOCK_BYTES) or PAGE_BYTES
    finally:
        window[:] = bytes(len(window))


def regions(process_id: int, *, left_out: bytearray) -> list[tuple[int, int]]:
    """Beginnings and ends of readable memory, of this process without a buffer. Raises ProcessLookupError."""
    maps = Path(f"/proc/{process_id}/maps").read_text(encoding="ascii", errors="replace")
    found = [
        (int(region[1], 16), int(region[2], 16))
        for line in maps.splitlines()
        if (region := REGION.match(line)) and not line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]"))
    ]
    if not found:
        raise ProcessLookupError(f"process {process_id} has no memory any more")
    if process_id != os.getpid():
        return found
    first = np.frombuffer(left_out, np.uint8).ctypes.data
    after = first + len(left_out)
    parts = [part for start, end in found for part in ((start, min(end, first)), (max(start, after), end))]
    return [(start, end) for start, end in parts if start < end]


def read_into(window: bytearray, file: FileIO, position: int, end: int) -> int:
    """Fill the window with what can be read from there, and return how much that is."""
    with memoryview(window) as view, suppress(OSError):
        file.seek(position)
        return file.readinto(view[: end - position]) or 0
    return 0


def written_files(process_id: int) -> list[Path]:
    """The files that a process has open."""
    links: list[Path] = []
    for path in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            links.append(path.readlink())
    return [link for link in links if link.is_file()]
