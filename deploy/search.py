# SPDX-License-Identifier: Apache-2.0
"""Look for a text in recordings, files and the memory of a process, in the forms it could have."""

import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Parts of this length are looked for; shorter ones could stand in any program by chance.
PART_CHARACTERS = 24
MOST_PARTS = 16
# A row of dashes or blanks is in many a program.
LEAST_DIFFERENT = 6
BLOCK_BYTES = 1 << 24
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
    for block in memory(process_id, max(len(needle.content) for needle in wanted)):
        found.update(search(block, wanted))
    return sorted(found, key=lambda needle: (needle.name, needle.form))


def memory(process_id: int, overlap_bytes: int) -> Iterator[bytes]:
    """The readable memory of a process, in blocks that overlap."""
    maps = Path(f"/proc/{process_id}/maps").read_text(encoding="ascii", errors="replace")
    with Path(f"/proc/{process_id}/mem").open("rb", buffering=0) as file:
        for line in maps.splitlines():
            region = REGION.match(line)
            if region is None or line.endswith(("[vvar]", "[vvar_vclock]", "[vsyscall]")):
                continue
            start, end = int(region[1], 16), int(region[2], 16)
            for position in range(start, end, BLOCK_BYTES):
                file.seek(position)
                yield file.read(min(BLOCK_BYTES + overlap_bytes, end - position))


def written_files(process_id: int) -> list[Path]:
    """The files that a process has open."""
    links: list[Path] = []
    for path in Path(f"/proc/{process_id}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            links.append(path.readlink())
    return [link for link in links if link.is_file()]
