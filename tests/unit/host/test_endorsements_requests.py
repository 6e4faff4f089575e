# SPDX-License-Identifier: Apache-2.0
"""Questions in the forms that AMD and Intel document, and the shapes of their answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host import endorsement_requests as requests
from host.endorsement_forms import FormError, certificates, chain_of_header, check_der, signed_json
from host.endorsement_requests import (
    CertificateAuthority,
    EvaluationNumber,
    PatchLevels,
    Product,
    RequestValueError,
    Service,
    SigningKey,
    Update,
)
from tests.fakes.vendors import der, pem

LEVELS = PatchLevels(bootloader=1, tee=2, snp=3, microcode=255)
FMSPC = bytes.fromhex("b0c06f000000")


@pytest.mark.parametrize(
    ("request_", "service", "target"),
    [
        (requests.amd_chain(Product.MILAN, SigningKey.VCEK), Service.KDS, "/vcek/v1/Milan/cert_chain"),
        (requests.amd_chain(Product.TURIN, SigningKey.VLEK), Service.KDS, "/vlek/v1/Turin/cert_chain"),
        (requests.amd_revocations(Product.GENOA, SigningKey.VCEK), Service.KDS, "/vcek/v1/Genoa/crl"),
        (
            requests.vcek(Product.GENOA, bytes([0xAB]) * 64, LEVELS),
            Service.KDS,
            f"/vcek/v1/Genoa/{'ab' * 64}?blSPL=1&teeSPL=2&snpSPL=3&ucodeSPL=255",
        ),
        (
            requests.vcek(Product.TURIN, bytes([0xAB]) * 8, PatchLevels(1, 2, 3, 4, fmc=9)),
            Service.KDS,
            f"/vcek/v1/Turin/{'ab' * 8}?fmcSPL=9&blSPL=1&teeSPL=2&snpSPL=3&ucodeSPL=4",
        ),
        (
            requests.vlek(Product.MILAN, LEVELS),
            Service.KDS,
            "/vlek/v1/Milan/cert?blSPL=1&teeSPL=2&snpSPL=3&ucodeSPL=255",
        ),
        (
            requests.tcb_info(FMSPC, Update.EARLY),
            Service.PCS,
            "/tdx/certification/v4/tcb?fmspc=B0C06F000000&update=early",
        ),
        (
            requests.tcb_info(FMSPC, EvaluationNumber(18)),
            Service.PCS,
            "/tdx/certification/v4/tcb?fmspc=B0C06F000000&tcbEvaluationDataNumber=18",
        ),
        (
            requests.qe_identity(Update.STANDARD),
            Service.PCS,
            "/tdx/certification/v4/qe/identity?update=standard",
        ),
        (
            requests.pck_revocations(CertificateAuthority.PLATFORM),
            Service.PCS,
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        ),
        (requests.intel_root_revocations(), Service.INTEL_CERTIFICATES, "/IntelSGXRootCA.der"),
    ],
)
def test_questions_have_the_documented_form(
    request_: requests.Request, service: Service, target: str
) -> None:
    assert (request_.service, request_.target) == (service, target)
    assert request_.key == f"{service} {target}"
    assert requests.is_bundle_name(request_.name)


@pytest.mark.parametrize(("product", "size"), [(Product.MILAN, 8), (Product.GENOA, 63), (Product.TURIN, 64)])
def test_chip_ids_have_the_size_of_their_product(product: Product, size: int) -> None:
    with pytest.raises(RequestValueError, match=f"found {size}"):
        requests.vcek(product, bytes([1]) * size, LEVELS)


def test_a_masked_chip_is_not_asked_for() -> None:
    with pytest.raises(RequestValueError, match="masked"):
        requests.vcek(Product.MILAN, bytes(64), LEVELS)


def test_other_values_are_refused() -> None:
    with pytest.raises(RequestValueError, match="FMC"):
        requests.vcek(Product.MILAN, bytes([1]) * 64, PatchLevels(1, 2, 3, 4, fmc=1))
    for level in (-1, 256):
        with pytest.raises(RequestValueError, match="patch levels"):
            PatchLevels(1, 2, 3, level)
    for number in (0, -1, 1 << 16):
        with pytest.raises(RequestValueError, match="number"):
            EvaluationNumber(number)
    with pytest.raises(RequestValueError, match="FMSPC"):
        requests.tcb_info(FMSPC + b"\0", Update.STANDARD)


def test_der_is_one_sequence_and_nothing_else() -> None:
    for content in (b"", bytes(5), bytes(127), bytes(128), bytes(300), bytes(70_000)):
        size = len(content)
        length = bytes([size]) if size < 128 else b"\x83" + size.to_bytes(3, "big")
        check_der(b"\x30" + length + content)
    for wrong in (
        b"",
        b"\x30",
        b"\x31\x00",
        b"\x30\x80\0\0",
        b"\x30\x85\0\0\0\0\0",
        b"\x30\x01",
        b"\x30\x00\x00",
    ):
        with pytest.raises(FormError):
            check_der(wrong)


def test_pem_is_certificates_and_nothing_else() -> None:
    one, two = der(b"one"), der(bytes(200))
    assert certificates(pem(one) + b"\n" + pem(two)) == (one, two)
    assert certificates(pem(one).replace(b"\n", b"\r\n")) == (one,)
    for wrong in (
        b"",
        b" ",
        b"text" + pem(one),
        pem(one) + b"text",
        pem(one) * 5,
        pem(b"text"),
        pem(one).replace(b"CERTIFICATE", b"PRIVATE KEY"),
        b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n",
    ):
        with pytest.raises(FormError):
            certificates(wrong)


def test_a_chain_in_a_header_is_escaped_pem() -> None:
    escaped = pem(der(b"one")).decode().replace("\n", "%0A").replace(" ", "%20")
    assert chain_of_header(escaped, 1000) == pem(der(b"one"))
    with pytest.raises(FormError, match="too long"):
        chain_of_header(escaped, 10)


@given(space=st.text(" \t\r\n", max_size=3), inside=st.text(max_size=20))
def test_signed_json_is_cut_out_octet_by_octet(space: str, inside: str) -> None:
    text = inside.replace("\\", "").replace('"', "").encode("utf-8", "ignore").decode()
    text = "".join(character for character in text if ord(character) >= 0x20)
    value = f'{{{space}"a" : "{text}",{space}"b":{{"signature":"x"}} }}'
    signature = f'{space},{space}"signature":"{"0f" * 64}"{space}'
    body = f'{space}{{{space}"tcbInfo"{space}:{space}{value}{signature}}}{space}'
    found = signed_json(body.encode())
    assert (found.content, found.signature) == (value, bytes([15]) * 64)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"tcbInfo":{},"signature":"00"}',
        b'{"tcbInfo":[],"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{]},"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{"a":"\xff"},"signature":"' + b"00" * 64 + b'"}',
        b'{"other":{},"signature":"' + b"00" * 64 + b'"}',
        b'{"tcbInfo":{},"signature":"' + b"00" * 64 + b'"}x',
        b'{"signature":"' + b"00" * 64 + b'","tcbInfo":{}}',
        b'{"tcbInfo":' + b'{"a":' * 100_000 + b'},"signature":"' + b"00" * 64 + b'"}',
    ],
    ids=range(10),
)
def test_other_signed_json_is_refused(body: bytes) -> None:
    with pytest.raises(FormError):
        signed_json(body)
