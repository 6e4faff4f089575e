# SPDX-License-Identifier: Apache-2.0
"""The cache and the bundle on disk: bounds, damage, and who may read them."""

import asyncio
import os
import warnings
import zipfile
from pathlib import Path

import pytest

from host import endorsement_requests as requests
from host.config_error import ConfigError
from host.endorsement_bundle import Bundle, BundleError
from host.endorsement_cache import Cache, Entry
from host.endorsement_fetch import FetchError
from host.endorsement_requests import DAY, CertificateAuthority, Product, Request, SigningKey, Update
from host.endorsement_settings import Settings, parse_settings
from host.endorsements import Endorsement, Source, open_endorsements
from tests.fakes.vendors import World, der, made_up_collateral, pem, running_vendors

CHAIN = requests.amd_chain(Product.GENOA, SigningKey.VCEK)
PCK = requests.pck_revocations(CertificateAuthority.PROCESSOR)
ENTRY = Entry(b"content\nof any kind\0", b"chain", 1_790_000_000)


def test_what_was_put_is_got(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "new" / "cache")
    assert cache.get("a") is None
    cache.put("a", ENTRY)
    cache.put("b", Entry(b"", b"", 0))
    assert Cache(tmp_path / "new" / "cache").get("a") == ENTRY
    assert cache.get("b") == Entry(b"", b"", 0)


def test_files_are_for_this_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Cache(tmp_path / "cache").put("a", ENTRY)
    finally:
        os.umask(old)
    (path,) = (tmp_path / "cache").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_entry_of_another_question_is_none(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a", ENTRY)
    (path,) = tmp_path.iterdir()
    cache.put("b", ENTRY)
    other = next(each for each in tmp_path.iterdir() if each != path)
    path.replace(other)
    assert cache.get("b") is None


def test_every_damaged_octet_is_a_miss(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a", ENTRY)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert cache.get("a") is None
        path.write_bytes(whole[:position])
        assert cache.get("a") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"null\nx",
        b"[" * 50_000 + b"\n",
        b" " * 70_000 + b"\n",
        b'{"v":2}\n',
        b'{"v":1,"request":"a","fetched_at":"1","sha256":"","chain":""}\n',
        b'{"v":1,"request":"a","fetched_at":-1,"sha256":"","chain":""}\n',
        b'{"v":1,"request":"a","fetched_at":1,"sha256":"\xc3\xa9","chain":""}\n',
        b'{"v":1,"request":"a","fetched_at":1,"sha256":"","chain":"\\u00e9"}\n',
        b"\xff\n",
    ],
)
def test_other_files_are_a_miss(tmp_path: Path, content: bytes) -> None:
    cache = Cache(tmp_path)
    cache.put("a", ENTRY)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert cache.get("a") is None


def test_links_and_folders_are_a_miss(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.put("a", ENTRY)
    (path,) = (tmp_path / "cache").iterdir()
    path.replace(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get("a") is None
    path.unlink()
    path.mkdir()
    assert cache.get("a") is None


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_entries=3)
    for number, name in enumerate("abcde"):
        cache.put(name, ENTRY)
        for path in tmp_path.iterdir():
            if path.stat().st_mtime_ns > 10**18:
                os.utime(path, ns=(number, number))
    assert [name for name in "abcde" if cache.get(name)] == ["c", "d", "e"]
    assert len(list(tmp_path.iterdir())) == 3


def test_the_oldest_go_when_they_are_too_large(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=3000)
    for name in "abcd":
        cache.put(name, Entry(bytes(1000), b"", 0))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3000
    assert cache.get("d")


def test_a_write_that_fails_leaves_the_older_answer_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("a", ENTRY)
    with pytest.raises(UnicodeDecodeError):
        cache.put("a", Entry(b"new", b"\xff", 0))
    assert cache.get("a") == ENTRY
    (path,) = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        cache.put("a", ENTRY)
    assert list(tmp_path.iterdir()) == [path]


def folder_with(place: Path, files: dict[str, bytes]) -> Path:
    place.mkdir(exist_ok=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


def zip_with(place: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return place


FILES = {
    CHAIN.name: pem(der(b"ask")) + pem(der(b"ark")),
    PCK.name: der(b"list"),
    PCK.name + ".chain.pem": pem(der(b"issuer")),
}


@pytest.fixture(params=["folder", "zip"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return (
        folder_with(tmp_path / "f", FILES)
        if request.param == "folder"
        else zip_with(tmp_path / "b.zip", FILES)
    )


def test_a_bundle_has_answers_by_name(bundle: Path) -> None:
    assert Bundle(bundle).get(CHAIN) == (FILES[CHAIN.name], b"")
    assert Bundle(bundle).get(PCK) == (FILES[PCK.name], FILES[PCK.name + ".chain.pem"])
    assert Bundle(bundle).get(requests.intel_root_revocations()) is None


def test_the_names_in_a_bundle_are_these() -> None:
    levels = requests.PatchLevels(1, 2, 3, 4, fmc=5)
    assert [each.name for each in (CHAIN, PCK, requests.intel_root_revocations())] == [
        "amd-vcek-Genoa-chain.pem",
        "intel-pck-processor.crl",
        "intel-root-ca.crl",
    ]
    turin = requests.vcek(Product.TURIN, bytes(range(8)), levels)
    assert turin.name == "amd-vcek-Turin-0001020304050607-5-1-2-3-4.der"
    assert (
        requests.tcb_info(bytes.fromhex("90c06f000000"), Update.EARLY).name
        == "intel-tdx-tcb-90C06F000000-early.json"
    )


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_answer_without_its_chain_is_none(tmp_path: Path, kind: str) -> None:
    files = {PCK.name: der(b"list")}
    place = folder_with(tmp_path / "f", files) if kind == "folder" else zip_with(tmp_path / "z", files)
    assert Bundle(place).get(PCK) is None


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_entry_that_swells_is_refused(tmp_path: Path, kind: str) -> None:
    files = {CHAIN.name: bytes(CHAIN.max_bytes + 1)}
    place = folder_with(tmp_path / "f", files) if kind == "folder" else zip_with(tmp_path / "z", files)
    with pytest.raises(BundleError, match="exceeds"):
        Bundle(place).get(CHAIN)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Bundle(tmp_path / "missing").get(CHAIN)
    (tmp_path / "text").write_bytes(b"text")
    with pytest.raises(BundleError):
        Bundle(tmp_path / "text").get(CHAIN)
    damaged = zip_with(tmp_path / "damaged.zip", FILES)
    damaged.write_bytes(damaged.read_bytes().replace(b"PK\x03\x04", b"PK\x03\x05"))
    with pytest.raises(BundleError):
        Bundle(damaged).get(CHAIN)


def test_a_name_twice_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(CHAIN.name, b"a")
        archive.writestr(CHAIN.name, b"b")
    with pytest.raises(BundleError, match="twice"):
        Bundle(tmp_path / "z").get(CHAIN)


def ask(settings: Settings, request: Request) -> Endorsement:
    async def run() -> Endorsement:
        world = World(0.0)
        async with open_endorsements(settings, world) as host:
            return await host.get(request)

    return asyncio.run(run())


def test_a_bundle_comes_before_the_vendor(bundle: Path) -> None:
    world = World(0.0)
    with running_vendors(world.now) as vendors:
        vendors.serve_amd("Genoa", "vcek", (der(b"other"),), der(b"list"))
        vendors.serve_intel(made_up_collateral(), "90C06F000000", "processor")
        settings = Settings(kds_url=vendors.url, pcs_url=vendors.url, bundle=bundle)
        assert ask(settings, CHAIN).content == FILES[CHAIN.name]
        assert ask(settings, PCK).chain == FILES[PCK.name + ".chain.pem"]
        assert ask(settings, PCK).source is Source.BUNDLE
        assert vendors.asked == []
        assert ask(settings, requests.amd_revocations(Product.GENOA, SigningKey.VCEK)).source is Source.VENDOR


def test_a_host_that_is_to_stay_offline_asks_nobody(bundle: Path) -> None:
    world = World(0.0)
    with running_vendors(world.now) as vendors:
        settings = Settings(
            kds_url=vendors.url, intel_certificates_url=vendors.url, bundle=bundle, offline=True
        )
        with pytest.raises(FetchError, match="offline"):
            ask(settings, requests.intel_root_revocations())
        assert vendors.asked == []


@pytest.mark.parametrize("spoiled", [CHAIN.name, PCK.name, PCK.name + ".chain.pem"])
def test_a_bundle_of_another_shape_is_an_error_and_not_skipped(tmp_path: Path, spoiled: str) -> None:
    place = folder_with(tmp_path / "f", FILES | {spoiled: b"text"})
    with pytest.raises(FetchError, match="of the bundle"):
        ask(Settings(bundle=place), CHAIN if spoiled == CHAIN.name else PCK)


def test_settings_are_read_from_a_table() -> None:
    table: dict[str, object] = {
        "kds_url": "https://mirror.example:8443/kds",
        "pcs_url": "http://127.0.0.1:8081",
        "cache": "/var/cache/sottovoce",
        "bundle": "/etc/sottovoce/bundle.zip",
        "offline": True,
        "attempts": 2,
        "timeout_seconds": 3,
        "max_stale_seconds": 0,
    }
    settings = parse_settings(table)
    assert settings.kds_url == "https://mirror.example:8443/kds"
    assert (settings.cache, settings.offline) == (Path("/var/cache/sottovoce"), True)
    assert (settings.attempts, settings.timeout_seconds, settings.max_stale_seconds) == (2, 3.0, 0)
    assert parse_settings({}) == Settings()


@pytest.mark.parametrize(
    "table",
    [
        {"kds": "https://x.example"},
        {"kds_url": "http://kdsintf.amd.com"},
        {"kds_url": "https://kdsintf.amd.com/"},
        {"kds_url": "https://user@kdsintf.amd.com"},
        {"kds_url": "https://kdsintf.amd.com?x"},
        {"kds_url": "ftp://kdsintf.amd.com"},
        {"kds_url": "http://127.0.0.1.example:80"},
        {"pcs_url": 1},
        {"cache": "relative"},
        {"cache": 1},
        {"offline": 1},
        {"attempts": 0},
        {"attempts": 11},
        {"attempts": True},
        {"attempts": 1.5},
        {"timeout_seconds": 0},
        {"timeout_seconds": True},
        {"timeout_seconds": "1"},
        {"deadline_seconds": float("nan")},
        {"max_wait_seconds": DAY + 1},
        {"max_stale_seconds": -1},
    ],
)
def test_settings_that_cannot_be_meant_are_errors(table: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        parse_settings(table)
