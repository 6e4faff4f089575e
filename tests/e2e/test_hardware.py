# SPDX-License-Identifier: Apache-2.0
"""Enclaves that are configured for hardware, and hosts that fetch what vendors say about it.

The kernel is the fake of `tests.fakes.kernel`, the processor one of the simulated vendor. All else is real:
the processes and their confinement, the host, and a server that behaves like AMD's and Intel's.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from attestation.evidence import FRESH_MODE, SEV_SNP, TDX, EvidenceError, decode_evidence
from attestation.policy import AnyMachine, AnyModel, Policy
from attestation.verify import Untrusted
from deploy.local import Place, enclave, enclave_config, free_port, host, is_healthy
from deploy.local import running as program_running
from models.fetch import fetch
from models.manifest import find_manifest
from sottovoce.chat import Turn, chat_request
from sottovoce.one_time_keys import Assurance
from sottovoce.opening import Start
from sottovoce.receipt_form import decode_receipt
from sottovoce.receipted import Receipted
from sottovoce.session import Content
from sottovoce.transport import Connection
from sottovoce.trust import choose_policy
from tests.conftest import FEW_SLOTS, wait_until
from tests.fakes import trust_domain
from tests.fakes.reporter import snp_guest
from tests.fakes.reporter import trust_domain as started_domain
from tests.fakes.vendors import DER_TYPE, Page, Vendors, running_vendors
from wire.session import decode_response
from wire.strict_json import Json

EVIDENCE = "/.well-known/attested-ohttp"
MODEL = "smollm2-135m-instruct"
HARDWARE = 'kind = "hardware"'


@dataclass(frozen=True, slots=True)
class Machine:
    """A running enclave, and what accepts it."""

    place: Place
    policy: Policy


@contextmanager
def running(folder: Path, vendor: Path, kind: str, octet: str = "simulated") -> Generator[Machine]:
    """An enclave on a fake machine. Its host comes later; its origin stays."""
    port = free_port()
    place = Place(folder, vendor, port, f"http://localhost:{port}")
    program = ("tests.fakes.enclave", kind, str(vendor), octet)
    with enclave(place, tee=HARDWARE, program=program, extra=FEW_SLOTS):
        yield Machine(place, tdx_policy(place) if kind == "tdx" else snp_policy(place))


def snp_policy(place: Place) -> Policy:
    """What the simulated vendor says to accept."""
    return choose_policy(place.audience, file=place.policy, simulated=True)


def tdx_policy(place: Place) -> Policy:
    """The same for the simulated Intel."""
    return replace(
        trust_domain.policy(),
        machines=AnyMachine.ANY_MACHINE,
        models=AnyModel.ANY_MODEL,
        audiences=frozenset({place.audience}),
    )


@pytest.fixture(scope="module")
def snp(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Machine]:
    """An enclave on SNP whose host has no certificates."""
    with running(tmp_path_factory.mktemp("snp"), vendor_folder, "snp") as machine:
        yield machine


@pytest.fixture(scope="module")
def tdx(tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path) -> Iterator[Machine]:
    """An enclave on TDX."""
    with running(tmp_path_factory.mktemp("tdx"), vendor_folder, "tdx") as machine:
        yield machine


@pytest.fixture
def vendors(vendor_folder: Path) -> Iterator[Vendors]:
    """A server with what AMD and Intel would say about these machines."""
    with running_vendors(time.time) as server:
        guest = snp_guest(vendor_folder)
        server.serve_amd("Genoa", "vcek", guest.chain[1:], guest.crl)
        server.pages[leaf_target(vendor_folder)] = Page(guest.chain[0], DER_TYPE)
        collateral: dict[str, str] = json.loads(started_domain().collateral.encode())
        server.serve_intel(collateral, "90C06F000000")
        yield server


def leaf_target(vendor_folder: Path) -> str:
    """Where KDS has the certificate of this chip at its TCB, 0a000000 00001954."""
    chip = snp_guest(vendor_folder).chip_id.hex()
    return f"/vcek/v1/Genoa/{chip}?blSPL=10&teeSPL=0&snpSPL=25&ucodeSPL=84"


def endorsements(url: str, *more: str) -> str:
    """The table of the host's configuration."""
    addresses = (f'{name} = "{url}"' for name in ("kds_url", "pcs_url", "intel_certificates_url"))
    return "\n".join(("[endorsements]", *addresses, "deadline_seconds = 5.0", *more)) + "\n"


def document(place: Place) -> bytes:
    """The evidence as the host serves it."""
    return httpx.get(place.url + EVIDENCE, timeout=10, trust_env=False).content


def endorsement_status(place: Place) -> str:
    """What the host says to its operator."""
    said: dict[str, str] = httpx.get(f"{place.url}/healthz", timeout=10, trust_env=False).json()
    return said.get("endorsements", "nothing")


def is_stapled(place: Place) -> bool:
    """Whether the host has something to add by now."""
    document(place)
    return endorsement_status(place) == "stapled"


def bundle(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the program for bundles."""
    command = [sys.executable, "-P", "-m", "host.bundle", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_snp_hardware_with_certificates_of_amd(
    snp: Machine, vendors: Vendors, vendor_folder: Path, tmp_path: Path
) -> None:
    cache = f'cache = "{tmp_path / "cache"}"'
    vendors.statuses = [(429, {"Retry-After": "1"})]
    with host(snp.place, extra=endorsements(vendors.url, cache)):
        wait_until(lambda: is_stapled(snp.place), "the host fetches what AMD says")
        with Connection(snp.place.url, snp.policy) as client:
            verdict = client.verify().verdict
            assert (verdict.tee, verdict.simulated, verdict.verified) == (SEV_SNP, True, True)
            assert "".join(client.chat(MODEL, [Turn("user", "What is gravity?")], max_tokens=4))
        assert leaf_target(vendor_folder) in vendors.asked
    asked = len(vendors.asked)
    with host(snp.place, extra=endorsements(vendors.url, cache)):  # a new process, which has the cache
        wait_until(lambda: is_stapled(snp.place), "the host finds it in its cache")
        with Connection(snp.place.url, snp.policy) as client:
            client.verify()
    assert len(vendors.asked) == asked


def test_tdx_hardware_with_collateral_of_intel(tdx: Machine, vendors: Vendors) -> None:
    with host(tdx.place, extra=endorsements(vendors.url)):
        wait_until(lambda: is_stapled(tdx.place), "the host fetches what Intel says")
        with Connection(tdx.place.url, tdx.policy) as client:
            verdict = client.verify().verdict
            assert (verdict.tee, verdict.simulated, verdict.verified) == (TDX, True, True)
            asking = Receipted(client, chat_request(MODEL, [Turn("user", "What is gravity?")], max_tokens=4))
            assert "".join(asking.texts())
            receipt = decode_receipt(asking.kept(tdx.policy).receipt).receipt
            assert receipt.measurement == verdict.measurement


def fresh_evidence(place: Place, policy: Policy) -> dict[str, Json]:
    """The document that the enclave itself gives a session request, where the host can add nothing."""
    ready = Start(policy).present(document(place)).verify(int(time.time()))
    exchange = ready.open(0.0).exchange
    answer = httpx.post(
        place.url + exchange.gateway_path,
        content=exchange.body,
        headers={"content-type": exchange.media_type},
        timeout=10,
        trust_env=False,
    )
    events = exchange.receive(answer.content) + exchange.end()
    content = b"".join(event.data for event in events if isinstance(event, Content))
    members: dict[str, Json] = json.loads(decode_response(content).evidence)
    return members


BARE: dict[str, dict[str, Json]] = {"snp": {"chain": [], "crl": ""}, "tdx": {"collateral": ""}}


@pytest.mark.parametrize("kind", list(BARE))
def test_fresh_evidence_is_verified_with_what_the_host_stapled_to_the_public_one(
    request: pytest.FixtureRequest, vendors: Vendors, kind: str
) -> None:
    machine: Machine = request.getfixturevalue(kind)
    with host(machine.place, extra=endorsements(vendors.url)):
        wait_until(lambda: is_stapled(machine.place), "the host fetches")
        bare = fresh_evidence(machine.place, machine.policy)
        assert bare.items() >= {"mode": FRESH_MODE, **BARE[kind]}.items()
        with Connection(machine.place.url, machine.policy) as client:
            public = client.verify().evidence
            session = client.open()
            fresh = session.enclave.evidence
            assert session.assurance is Assurance.FRESH
            assert session.enclave.verdict.verified
            assert (fresh.mode, fresh.tee) == (FRESH_MODE, public.tee)
            assert fresh.report != public.report
            assert (fresh.chain, fresh.crl, fresh.collateral) == (public.chain, public.crl, public.collateral)
            assert "".join(client.chat(MODEL, [Turn("user", "What is gravity?")], max_tokens=4))


def test_certificates_that_the_machine_brings_are_not_asked_for(
    vendors: Vendors, vendor_folder: Path, tmp_path: Path
) -> None:
    with (
        running(tmp_path, vendor_folder, "snp-with-table") as machine,
        host(machine.place, extra=endorsements(vendors.url)),
    ):
        wait_until(lambda: is_stapled(machine.place), "the host fetches the list")
        with Connection(machine.place.url, machine.policy) as client:
            client.verify()
    assert set(vendors.asked) == {"/vcek/v1/Genoa/cert_chain", "/vcek/v1/Genoa/crl"}


@pytest.mark.parametrize("kind", ["snp", "tdx"])
def test_a_bundle_serves_where_the_vendor_is_out_of_reach(
    request: pytest.FixtureRequest, vendors: Vendors, tmp_path: Path, kind: str
) -> None:
    machine: Machine = request.getfixturevalue(kind)
    folder, config = tmp_path / "bundle", tmp_path / "host.toml"
    link = f"unix:{machine.place.enclave_socket}"
    config.write_text(
        f'listen = "127.0.0.1:1"\nlink = "{link}"\n{endorsements(vendors.url)}', encoding="utf-8"
    )
    made = bundle("fetch", "--config", str(config), "--out", str(folder))
    assert made.returncode == 0, made.stderr
    assert "fault" not in made.stdout
    asked = len(vendors.asked)
    more = (f'bundle = "{folder}"', "offline = true")
    with host(machine.place, extra=endorsements(vendors.url, *more)):
        wait_until(lambda: is_stapled(machine.place), "the host reads its bundle")
        with Connection(machine.place.url, machine.policy) as client:
            client.verify()
    assert len(vendors.asked) == asked


REFUSALS: dict[str, tuple[type[Exception], str]] = {
    "snp": (EvidenceError, "expected 1 to 5 certificates, found 0"),
    "tdx": (Untrusted, "collateral: expected TCB info"),
}


@pytest.mark.alone
@pytest.mark.parametrize("kind", list(REFUSALS))
def test_without_endorsements_serving_goes_on_and_clients_refuse(
    request: pytest.FixtureRequest, vendors: Vendors, kind: str
) -> None:
    """A vendor that does not answer takes nothing from the host but what it would have said."""
    machine: Machine = request.getfixturevalue(kind)
    refusal, text = REFUSALS[kind]
    vendors.hold = True
    with host(machine.place, extra=endorsements(vendors.url, "attempts = 1")):
        started = time.monotonic()
        with Connection(machine.place.url, machine.policy) as client, pytest.raises(refusal, match=text):
            client.verify()
        assert time.monotonic() - started < 4  # not held up by the vendor's 5 seconds
        assert is_healthy(machine.place)
        wait_until(lambda: "no answer within" in endorsement_status(machine.place), "the host gives up")


def test_what_a_bundle_lacks_is_named(snp: Machine, vendors: Vendors, tmp_path: Path) -> None:
    evidence, folder, config = tmp_path / "evidence.json", tmp_path / "bundle", tmp_path / "host.toml"
    with host(snp.place):
        evidence.write_bytes(document(snp.place))
        assert endorsement_status(snp.place) == "nothing"
    config.write_text(
        f'listen = "127.0.0.1:1"\nlink = "unix:/nowhere"\n{endorsements(vendors.url)}', encoding="utf-8"
    )
    chosen = ("--evidence", str(evidence))
    assert bundle("fetch", "--config", str(config), *chosen, "--out", str(folder)).returncode == 0
    assert bundle("inspect", str(folder), *chosen).returncode == 0
    (folder / "amd-vcek-Genoa.crl").unlink()
    lacking = bundle("inspect", str(folder), *chosen)
    assert lacking.returncode == 1
    assert "fault  amd-vcek-Genoa.crl: missing" in lacking.stdout


@pytest.mark.parametrize(
    ("kind", "check"), [("snp-with-table", "report data binding"), ("tdx", "report data")]
)
def test_hardware_is_never_a_simulated_root(
    vendors: Vendors, vendor_folder: Path, tmp_path: Path, kind: str, check: str
) -> None:
    """Who simulates the processor below an honest enclave is found out by the octet in the report data."""
    with (
        running(tmp_path, vendor_folder, kind, "hardware") as machine,
        host(machine.place, extra=endorsements(vendors.url)),
    ):
        wait_until(lambda: is_stapled(machine.place), "the host fetches")
        with Connection(machine.place.url, machine.policy) as client, pytest.raises(Untrusted) as refused:
            client.verify()
        assert [each.name for each in refused.value.verdict.failures] == [check]
        evidence = decode_evidence(document(machine.place))
        assert evidence.tee == (TDX if kind == "tdx" else SEV_SNP)
        assert '"simulated": false' in machine.place.enclave_log.read_text(encoding="utf-8")


@pytest.mark.parametrize("production", ["true", "false"])
def test_an_enclave_for_hardware_does_not_start_without(
    snp: Machine, tmp_path: Path, production: str
) -> None:
    if Path("/sys/kernel/config/tsm/report").exists() or Path("/dev/sev-guest").exists():
        pytest.skip("this machine offers evidence")
    text = (snp.place.folder / "enclave.toml").read_text(encoding="utf-8")
    config = tmp_path / "enclave.toml"
    config.write_text(
        text.replace("production = false", f"production = {production}").replace(
            str(snp.place.enclave_socket), str(tmp_path / "enclave.sock")
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-P", "-m", "enclave", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 2
    assert "the enclave does not start: " in done.stderr
    assert "Started" not in done.stderr


def in_production(folder: Path, vendor: Path, octet: str) -> str:
    """What an enclave with `production = true` on a fake machine logs until it has started or ended."""
    place = Place(folder, vendor, free_port(), "http://localhost:8080")
    config, log = folder / "enclave.toml", place.enclave_log
    text = enclave_config(place, fetch(find_manifest(MODEL)), tee=HARDWARE)
    config.write_text(text.replace("production = false", "production = true"), encoding="utf-8")
    program = [sys.executable, "-P", "-m", "tests.fakes.enclave", "snp-with-table", str(vendor), octet]
    with program_running("the enclave", [*program, "--config", str(config)], folder, log) as process:
        wait_until(
            lambda: "Started" in log.read_text(encoding="utf-8") or process.poll() is not None,
            "the enclave starts or ends",
        )
        return log.read_text(encoding="utf-8")


@pytest.mark.skipif(os.getuid() != 0, reason="production needs leave to lock all memory")
def test_production_has_every_protection_and_hardware(vendor_folder: Path, tmp_path: Path) -> None:
    events = in_production(tmp_path, vendor_folder, "hardware")
    assert "Unprotected" not in events
    assert '"event": "Started", "part": "session", "simulated": false' in events


def test_production_refuses_a_simulated_reporter(vendor_folder: Path, tmp_path: Path) -> None:
    events = in_production(tmp_path, vendor_folder, "simulated")
    assert "Started" not in events
    assert '"event": "Stopped"' in events
