# SPDX-License-Identifier: Apache-2.0
"""Given the fields of genuine evidence, the simulator's encoders give the genuine bytes again.

The vectors are not part of the project: without the folder `../shared/vectors`, these tests are skipped.
"""

import struct
import warnings
from pathlib import Path

import dcap_qvl
import pytest
from cryptography import x509

from attestation.simulated.certificates import CSP_ID, LeafFields
from attestation.simulated.pck import SGX_EXTENSION, Platform
from attestation.simulated.snp import ReportFields
from attestation.simulated.td_quote import (
    BodyType,
    Certification,
    QeFields,
    QuoteFields,
    TdFields,
    encode_quote,
)
from attestation.simulated.td_report import TdReport
from attestation.snp.certificates import HARDWARE_ID, PATCH_LEVELS, PRODUCT_NAME
from attestation.snp.product import Product
from attestation.snp.report import LAYOUT, SIGNED_SIZE, SigningKey

VECTORS = Path(__file__).parents[5] / "shared" / "vectors"
QUOTES = sorted((VECTORS / "tdx" / "quotes").glob("tdx-*.bin"))
REPORTS = sorted((VECTORS / "snp" / "reports").glob("*.bin"))
LEAVES = sorted((VECTORS / "snp" / "certs").glob("v*.der"))

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason="no genuine evidence in ../shared/vectors")


def number(data: bytes, offset: int, size: int) -> int:
    """A little-endian number."""
    return int.from_bytes(data[offset : offset + size], "little")


def trust_domain(body: bytes) -> TdFields:
    """A body of TD 1.0 or 1.5, cut by the offsets of attestation.md 4.1."""
    return TdFields(
        tee_tcb_svn=body[:16],
        mrseam=body[16:64],
        mrsignerseam=body[64:112],
        seam_attributes=number(body, 112, 8),
        td_attributes=number(body, 120, 8),
        xfam=number(body, 128, 8),
        mrtd=body[136:184],
        mrconfigid=body[184:232],
        mrowner=body[232:280],
        mrownerconfig=body[280:328],
        rtmr0=body[328:376],
        rtmr1=body[376:424],
        rtmr2=body[424:472],
        rtmr3=body[472:520],
        report_data=body[520:584],
        tee_tcb_svn2=body[584:600],
        mrservicetd=body[600:648],
    )


def quoting_enclave(report: bytes, authentication: bytes) -> QeFields:
    """The quoting enclave's fields, but for its commitment, which must come out of itself."""
    return QeFields(
        cpu_svn=report[:16],
        misc_select=number(report, 16, 4),
        attributes=report[48:64],
        mrenclave=report[64:96],
        mrsigner=report[128:160],
        product_id=number(report, 256, 2),
        svn=number(report, 258, 2),
        authentication=authentication,
    )


@pytest.mark.parametrize("file", QUOTES, ids=lambda file: file.name)
def test_quotes(file: Path) -> None:
    quote = file.read_bytes()
    version = number(quote, 0, 2)
    kind, size, start = (2, 584, 48) if version == 4 else (*struct.unpack_from("<HI", quote, 48), 54)
    end = start + size + 4 + number(quote, start + size, 4)
    signatures = quote[start + size + 4 : end]
    certification, authentication_size = signatures[134:], number(signatures, 134 + 448, 2)
    authentication = certification[450 : 450 + authentication_size]
    enclave = quoting_enclave(certification[:384], authentication)
    fields = QuoteFields(
        trust_domain(quote[start : start + size].ljust(648, b"\x00")),
        version=version,
        body_type=BodyType(kind),
        user_data=quote[28:48],
        trailing=quote[end:],
    )
    chain = certification[456 + authentication_size :]
    key = signatures[64:128]
    made = Certification(enclave.encode(key), certification[384:448], authentication, chain)
    assert encode_quote(fields, key, signatures[:64], made) == quote


@pytest.mark.parametrize("file", QUOTES, ids=lambda file: file.name)
def test_platform_certificates(file: Path) -> None:
    quote = file.read_bytes()
    pem = quote[quote.index(b"-----BEGIN") :].rstrip(b"\x00")
    genuine = dcap_qvl.parse_pck_extension_from_pem(pem)
    flags = [genuine.get_value(f"{SGX_EXTENSION}.7.{flag}") == b"\xff" for flag in (1, 2, 3)]
    platform = Platform(
        components=genuine.cpu_svn,
        pce_svn=genuine.pce_svn,
        pce_id=genuine.pce_id,
        fmspc=genuine.fmspc,
        ppid=genuine.ppid,
        sgx_type=genuine.sgx_type,
        platform_instance_id=genuine.platform_instance_id or b"",
        dynamic_platform=flags[0],
        cached_keys=flags[1],
        smt=flags[2],
    )
    leaf = x509.load_pem_x509_certificates(pem)[0]
    extension = leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier(SGX_EXTENSION)).value
    assert isinstance(extension, x509.UnrecognizedExtension)
    assert extension.value == platform.extension()


def test_td_report_in_azures_blob() -> None:
    report = (VECTORS / "snp" / "azure" / "hcl-tdx.bin").read_bytes()[32 : 32 + 1024]
    body = report[264:384] + report[512:912] + report[128:192] + report[384:400] + report[912:960]
    module, domain, rest = body[:120], body[120:520], body[520:]
    made = TdReport(trust_domain(module + domain + rest), report[16:32], bytes(32)).encode()
    # The code is made with a key that stays in the machine.
    assert made[:224] + made[256:] == report[:224] + report[256:]


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: file.name)
def test_reports(file: Path) -> None:
    report = file.read_bytes()
    numbers = {name for name, kind in ReportFields.__annotations__.items() if kind is int}
    values = dict[str, int]()
    octets = dict[str, bytes]()
    for name, (offset, size) in LAYOUT.items():
        if offset < SIGNED_SIZE and name in numbers:
            values[name] = number(report, offset, size)
        elif offset < SIGNED_SIZE:
            octets[name] = report[offset : offset + size]
    made = ReportFields(octets.pop("measurement"), octets.pop("chip_id"))
    for name, value in (*values.items(), *octets.items()):
        object.__setattr__(made, name, value)
    assert made.encode() == report[:SIGNED_SIZE]


@pytest.mark.parametrize("file", LEAVES, ids=lambda file: file.name)
def test_leaf_certificates(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about serial number 0
        certificate = x509.load_der_x509_certificate(file.read_bytes())
    genuine = dict[str, bytes]()
    for extension in certificate.extensions:
        assert isinstance(extension.value, x509.UnrecognizedExtension)
        genuine[extension.oid.dotted_string] = extension.value.value
    name = genuine[PRODUCT_NAME][2:].decode("ascii")
    product = Product(name.partition("-")[0].lower())
    made = LeafFields(
        product,
        SigningKey.VLEK if CSP_ID in genuine else SigningKey.VCEK,
        bytes(genuine[level][-1] for level in PATCH_LEVELS[product]),
        genuine.get(HARDWARE_ID, b""),
        genuine.get(CSP_ID, b"")[2:].decode("ascii"),
        name,
    )
    assert list(made.extensions().items()) == list(genuine.items())
