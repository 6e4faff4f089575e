# SPDX-License-Identifier: Apache-2.0
"""Intel's statements: known members of known types, once each, and nothing else."""

import json
from base64 import b64encode
from dataclasses import replace

import pytest

from attestation.tdx.collateral import (
    CollateralError,
    TcbStatus,
    decode_collateral,
    parse_qe_identity,
    parse_tcb_info,
)
from tests.unit.attestation.tdx.simulated import GOOD, GOOD_TD, NOW, collateral_of

DOCUMENT = GOOD_TD.collateral.encode()
GOOD_COLLATERAL = collateral_of(GOOD)
SIGNATURE = b',"signature":"' + b"ab" * 64 + b'"}'
INFO = GOOD.tcb_info.encode(NOW)
IDENTITY = GOOD.qe_identity.encode(NOW)
MODULE = b'{"id":"TDX_01","mrsigner":'


def info(content: bytes) -> bytes:
    return b'{"tcbInfo":' + content + SIGNATURE


def identity(content: bytes) -> bytes:
    return b'{"enclaveIdentity":' + content + SIGNATURE


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new, 1)


def test_statements_are_read() -> None:
    read = parse_tcb_info(info(INFO))
    assert (read.fmspc, read.evaluation_data_number) == (GOOD.tcb_info.fmspc, 21)
    assert set(read.module_identities) == {"TDX_01", "TDX_03"}
    assert read.levels[0].standing.status is TcbStatus.UP_TO_DATE
    assert read.signed.content == INFO
    assert parse_qe_identity(identity(IDENTITY)).signed.content == IDENTITY


@pytest.mark.parametrize("status", TcbStatus)
def test_statuses_that_follow_from_comparing_are_not_stated(status: TcbStatus) -> None:
    """Of a platform, and of a part of it."""
    stated, other = b'"tcbStatus":"UpToDate"', f'"tcbStatus":"{status}"'.encode()
    before, levels, platforms = INFO.partition(b'"tcbLevels":[{"tcb":{"sgxtcbcomponents"')
    of_platform = info(before + levels + changed(platforms, stated, other))
    of_part = identity(changed(IDENTITY, stated, other))
    parts = {TcbStatus.UP_TO_DATE, TcbStatus.OUT_OF_DATE, TcbStatus.REVOKED}
    followed = {
        TcbStatus.TD_RELAUNCH_ADVISED,
        TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED,
        TcbStatus.NOT_SUPPORTED,
    }
    if status in followed:
        with pytest.raises(CollateralError, match="expected a TCB status"):
            parse_tcb_info(of_platform)
    else:
        assert status in {level.standing.status for level in parse_tcb_info(of_platform).levels}
    if status in parts:
        assert status in {level.standing.status for level in parse_qe_identity(of_part).levels}
    else:
        with pytest.raises(CollateralError, match="expected a TCB status"):
            parse_qe_identity(of_part)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"id":"TDX"', b'"id":"SGX"', "expected id TDX, found SGX"),
        (b'"version":3', b'"version":2', "expected version 3, found 2"),
        (b'"version":3', b'"version":255', "expected version 3, found 255"),
        (b'"version":3', b'"version":256', "number up to 255"),
        (b'"tcbType":0', b'"tcbType":1', "expected tcbType 0, found 1"),
        (b'"tcbType":0', b'"tcbType":255', "expected tcbType 0, found 255"),
        (b'"tcbType":0', b'"tcbType":256', "number up to 255"),
        (b'"tcbType":0', b'"tcbType":0,"more":1', "unknown members more"),
        (b'"tcbType":0', b'"tcbType":0,"tcbType":0', "each name once"),
        (b'"pceId":"0000"', b'"pceId":"00"', "4 hexadecimal digits"),
        (b'{"svn":9}', b'{"svn":256}', "number up to 255"),
        (b'{"svn":9}', b'{"svn":true}', "number up to 255"),
        (b'{"svn":9}', b'{"svn":9,"more":1}', "unknown members more"),
        (b'{"svn":9},', b"", "16 components as sgxtcbcomponents, found 15"),
        (b'"pcesvn":13', b'"pcesvn":13,"more":1', "unknown members more"),
        (b'"TDX_03"', b'"TDX_01"', "TDX_01 occurs twice"),
        (b'{"isvsvn":5}', b'{"isvsvn":5,"more":1}', "unknown members more"),
        (b'"tcbStatus":"UpToDate"', b'"tcbStatus":"Fine"', "TCB status, found 'Fine'"),
        (b'"tcbStatus":"Revoked"', b'"tcbStatus":"SWHardeningNeeded"', "found 'SWHardeningNeeded'"),
        (b'"tcbStatus":"SWHardeningNeeded"', b'"tcbStatus":"TDRelaunchAdvised"', "'TDRelaunchAdvised'"),
        (b'"advisoryIDs":["', b'"advisoryIDs":[1,"', "list of texts"),
        (b'"tdxModule":{', b'"tdxModule":{"more":1,', "unknown members more"),
        (b'"tcbStatus":"UpToDate"', b'"tcbStatus":"UpToDate","more":1', "unknown members more"),
        (b'"SWHardeningNeeded"', b'"SWHardeningNeeded","more":1', "unknown members more"),
        (b'DataNumber":21', b'DataNumber":4294967296', "number up to 4294967295"),
        (b'"isvsvn":5', b'"isvsvn":65536', "number up to 65535"),
        (b'"pcesvn":13', b'"pcesvn":65536', "number up to 65535"),
    ],
)
def test_other_tcb_info_is_refused(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(CollateralError, match=words):
        parse_tcb_info(info(changed(INFO, old, new)))


def test_notes_on_components_are_for_people() -> None:
    noted = changed(INFO, b'{"svn":9}', b'{"svn":9,"category":"BIOS","type":"Early Microcode Update"}')
    assert parse_tcb_info(info(noted)).levels == parse_tcb_info(info(INFO)).levels
    with pytest.raises(CollateralError, match="expected text"):
        parse_tcb_info(info(changed(INFO, b'{"svn":9}', b'{"svn":9,"type":1}')))


def test_first_tcb_info_named_no_modules() -> None:
    start = INFO.index(b'"tdxModuleIdentities"')
    end = INFO.index(b'"tcbLevels":[{"tcb":{"sgx')
    assert parse_tcb_info(info(INFO[:start] + INFO[end:])).module_identities == {}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"id":"TD_QE"', b'"id":"QE"', "expected id TD_QE, found QE"),
        (b'"version":2', b'"version":1', "expected version 2, found 1"),
        (b'"version":2', b'"version":255', "expected version 2, found 255"),
        (b'"version":2', b'"version":256', "number up to 255"),
        (b'DataNumber":21', b'DataNumber":4294967296', "number up to 4294967295"),
        (b'"isvprodid":2', b'"isvprodid":65536', "number up to 65535"),
        (b'"isvprodid":2', b'"isvprodid":2,"more":1', "unknown members more"),
    ],
)
def test_other_identity_is_refused(old: bytes, new: bytes, words: str) -> None:
    with pytest.raises(CollateralError, match=words):
        parse_qe_identity(identity(changed(IDENTITY, old, new)))


def test_numbers_use_all_their_bits() -> None:
    of_platform = changed(INFO, b'DataNumber":21', b'DataNumber":4294967295')
    of_platform = changed(of_platform, b'"isvsvn":5', b'"isvsvn":65535')
    of_platform = changed(of_platform, b'"pcesvn":13', b'"pcesvn":65535')
    read = parse_tcb_info(info(of_platform))
    assert read.evaluation_data_number == 0xFFFFFFFF
    assert read.module_identities["TDX_01"].levels[0].isvsvn == 0xFFFF
    assert read.levels[0].pcesvn == 0xFFFF
    of_enclave = changed(IDENTITY, b'DataNumber":21', b'DataNumber":4294967295')
    of_enclave = changed(of_enclave, b'"isvprodid":2', b'"isvprodid":65535')
    identified = parse_qe_identity(identity(of_enclave))
    assert (identified.evaluation_data_number, identified.isvprodid) == (0xFFFFFFFF, 0xFFFF)


def test_collateral_keeps_the_signed_bytes() -> None:
    assert parse_tcb_info(GOOD_COLLATERAL.tcb_info).signed.content == INFO
    assert parse_qe_identity(GOOD_COLLATERAL.qe_identity).signed.content == IDENTITY


def with_list(text: str) -> bytes:
    document: dict[str, str] = json.loads(DOCUMENT)
    return json.dumps(document | {"pck_crl": text}).encode()


def pem(label: str, count: int = 1) -> str:
    lines = b64encode(GOOD_COLLATERAL.pck_crl).decode()
    body = "\n".join(lines[start : start + 64] for start in range(0, len(lines), 64))
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n" * count


@pytest.mark.parametrize(
    "text",
    [
        GOOD_COLLATERAL.pck_crl.hex(),
        GOOD_COLLATERAL.pck_crl.hex().upper(),
        b64encode(GOOD_COLLATERAL.pck_crl).decode(),
        pem("X509 CRL"),
    ],
)
def test_lists_come_in_several_forms(text: str) -> None:
    assert decode_collateral(with_list(text)) == GOOD_COLLATERAL


@pytest.mark.parametrize(
    ("text", "octets"),
    [("zzzz", "cf3cf3"), ("0123456789abcdefABCDEF00", "0123456789abcdefabcdef00"), ("", "")],
)
def test_what_could_be_hexadecimal_is(text: str, octets: str) -> None:
    assert decode_collateral(with_list(text)).pck_crl.hex() == octets


@pytest.mark.parametrize("text", ["zz", "abc", "QU!JD", pem("CERTIFICATE"), pem("X509 CRL", 2), "\u00e4"])
def test_other_form_of_a_list_is_refused(text: str) -> None:
    with pytest.raises(CollateralError):
        decode_collateral(with_list(text))


def test_unknown_member_of_collateral_is_refused() -> None:
    with pytest.raises(CollateralError, match="unknown members more"):
        decode_collateral(changed(DOCUMENT, b"{", b'{"more":"",'))


def test_half_a_character_is_refused() -> None:
    """JSON can escape what UTF-8 cannot encode."""
    document: dict[str, str] = json.loads(DOCUMENT)
    spoiled = json.dumps(document | {"tcb_info": "\ud800"}).encode()
    with pytest.raises(CollateralError, match="expected text"):
        decode_collateral(spoiled)


def test_digest_tells_collateral_apart() -> None:
    other = replace(GOOD_COLLATERAL, pck_crl_chain=GOOD_COLLATERAL.pck_crl_chain[::-1])
    assert len({GOOD_COLLATERAL.digest, other.digest, collateral_of(GOOD).digest}) == 2
