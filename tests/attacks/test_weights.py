# SPDX-License-Identifier: Apache-2.0
"""Whoever owns the disk changes the weights, before the enclave starts and while it reads them."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from typing_extensions import override

from deploy.local import DEFAULT_MODEL, Place, enclave_config, write_policy
from enclave.weights import WeightsError, seal_stream, seal_weights
from models.describe import describe
from models.fetch import weights_path
from models.manifest import Manifest, WeightsDigest, find_manifest
from tests.fakes.gguf import Parts, tensor

CONTENT = bytes(range(256)) * 40_000


def manifest_of(content: bytes) -> Manifest:
    """A manifest for these weights."""
    digest = WeightsDigest(hashlib.sha256(content).digest())
    return replace(find_manifest(DEFAULT_MODEL), digest=digest, size_bytes=len(content))


def sealed_content(descriptor: int) -> bytes:
    """What is in sealed memory."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


class ChangingFile(BytesIO):
    """A file that somebody alters after its first block was read."""

    def __init__(self, content: bytes, position: int) -> None:
        super().__init__(content)
        self._position = position

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        with self.getbuffer() as buffer:
            buffer[self._position] ^= 1
        return block


def test_weights_that_are_right_are_sealed() -> None:
    assert sealed_content(seal_stream(BytesIO(CONTENT), manifest_of(CONTENT))) == CONTENT


@pytest.mark.parametrize("position", [0, len(CONTENT) // 2, len(CONTENT) - 1])
def test_weights_altered_by_one_byte_before_start(tmp_path: Path, position: int) -> None:
    altered = bytearray(CONTENT)
    altered[position] ^= 1
    path = tmp_path / "weights.gguf"
    path.write_bytes(altered)
    with pytest.raises(WeightsError, match="SHA-256"):
        seal_weights(path, manifest_of(CONTENT))


def test_weights_altered_during_start_where_they_are_still_to_be_read() -> None:
    with pytest.raises(WeightsError, match="SHA-256"):
        seal_stream(ChangingFile(CONTENT, len(CONTENT) - 1), manifest_of(CONTENT))


def test_weights_altered_during_start_where_they_were_read_already() -> None:
    descriptor = seal_stream(ChangingFile(CONTENT, 0), manifest_of(CONTENT))
    assert sealed_content(descriptor) == CONTENT


@pytest.mark.parametrize("change", [CONTENT + b"\0", CONTENT[:-1], b""])
def test_weights_of_another_length(change: bytes) -> None:
    with pytest.raises(WeightsError):
        seal_stream(BytesIO(change), manifest_of(CONTENT))


def test_weights_cannot_be_altered_once_they_are_sealed() -> None:
    descriptor = seal_stream(BytesIO(CONTENT), manifest_of(CONTENT))
    try:
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"\0", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 10)
    finally:
        os.close(descriptor)


def test_weights_of_the_right_digest_that_are_no_sound_model_file(tmp_path: Path) -> None:
    sound = Parts().file()
    path = tmp_path / "weights.gguf"
    path.write_bytes(sound)
    os.close(seal_weights(path, describe(path)))
    for content in (sound + b"\1", Parts(tensors=[tensor("a", (1 << 40, 1 << 40), 0, 0)]).file(), CONTENT):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="no GGUF file that may be loaded"):
            seal_weights(path, manifest_of(content))


def test_an_enclave_does_not_start_with_altered_weights(tmp_path: Path, vendor_folder: Path) -> None:
    altered = bytearray(weights_path(find_manifest(DEFAULT_MODEL)).read_bytes())
    altered[len(altered) // 2] ^= 1
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(altered)
    place = Place(tmp_path, vendor_folder, 1, "http://localhost:1")
    write_policy(place)
    config = tmp_path / "enclave.toml"
    config.write_text(enclave_config(place, weights), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "enclave", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert "does not start: the weights have the SHA-256" in ended.stderr
    assert not place.enclave_socket.exists()
