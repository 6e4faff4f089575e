# SPDX-License-Identifier: Apache-2.0
"""The runtime data of an HCL blob: JSON in which the paravisor names the virtual TPM's key (attestation.md).

The hardware signs for a hash of exactly these bytes, so they are decoded and never written again.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from wire.strict_json import Json, StrictJsonError, decode_value

ATTESTATION_KEY: Final = "HCLAkPub"
USER_DATA_SIZE: Final = 64
MIN_KEY_BITS: Final = 2048
MAX_KEY_BITS: Final = 4096  # a larger key only makes verification slow
RSA_EXPONENT: Final = 65537

_MEMBERS: Final = frozenset({"keys", "vm-configuration", "user-data"})
_KEY_MEMBERS: Final = frozenset({"kid", "key_ops", "kty", "e", "n"})
_USER_DATA: Final = re.compile("[0-9A-Fa-f]{128}")
_BASE64URL: Final = re.compile("[A-Za-z0-9_-]+")


class RuntimeDataError(Exception):
    """Runtime data do not have the form that Azure gives them."""


@dataclass(frozen=True, slots=True)
class RuntimeData:
    """What the paravisor says. `configuration` is Azure's own description of the machine, and open-ended."""

    attestation_key: rsa.RSAPublicKey = field(repr=False)
    configuration: Mapping[str, bool | int | str]
    user_data: bytes


def decode_runtime_data(data: bytes) -> RuntimeData:
    """Read the JSON; RuntimeDataError for unknown, missing or double names, and for another key than RSA."""
    members = _object(_decode(data), "runtime data")
    if unlike := _MEMBERS ^ members.keys():
        raise RuntimeDataError(f"missing or unexpected names {', '.join(sorted(unlike))}")
    user_data = members["user-data"]
    if not isinstance(user_data, str) or not _USER_DATA.fullmatch(user_data):
        raise RuntimeDataError(f"expected {USER_DATA_SIZE} bytes of hexadecimal as user-data")
    configuration = _configuration(members["vm-configuration"])
    return RuntimeData(_attestation_key(members["keys"]), configuration, bytes.fromhex(user_data))


def _decode(data: bytes) -> Json:
    try:
        return decode_value(data)
    except StrictJsonError as error:
        raise RuntimeDataError(str(error)) from error


def _object(value: Json, name: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise RuntimeDataError(f"expected an object as {name}")
    return value


def _configuration(value: Json) -> Mapping[str, bool | int | str]:
    configuration: dict[str, bool | int | str] = {}
    for name, setting in _object(value, "vm-configuration").items():
        if not isinstance(setting, (bool, int, str)):
            raise RuntimeDataError(f"expected a flag, a number or text as {name} of vm-configuration")
        configuration[name] = setting
    return MappingProxyType(configuration)


def _attestation_key(value: Json) -> rsa.RSAPublicKey:
    """The one key named HCLAkPub; others, such as the one for encryption, are not used here."""
    keys = [_object(key, "a key") for key in value] if isinstance(value, list) else []
    named = [key for key in keys if key.get("kid") == ATTESTATION_KEY]
    if len(named) != 1:
        raise RuntimeDataError(f"expected one key named {ATTESTATION_KEY}, found {len(named)}")
    key = named[0]
    if key.keys() != _KEY_MEMBERS or key["kty"] != "RSA" or key["key_ops"] != ["sign"]:
        raise RuntimeDataError(f"expected {ATTESTATION_KEY} to be an RSA key for signing")
    exponent, modulus = _number(key["e"], "e"), _number(key["n"], "n")
    if exponent != RSA_EXPONENT or not MIN_KEY_BITS <= modulus.bit_length() <= MAX_KEY_BITS:
        raise RuntimeDataError(
            f"expected an RSA key of {MIN_KEY_BITS} to {MAX_KEY_BITS} bits with exponent {RSA_EXPONENT}, "
            f"found {modulus.bit_length()} bits with {exponent}"
        )
    if modulus % 2 == 0:
        raise RuntimeDataError(f"expected the modulus of {ATTESTATION_KEY} to be odd")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _number(value: Json, name: str) -> int:
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise RuntimeDataError(f"expected base64url without padding as {name}")
    try:
        decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error as error:
        raise RuntimeDataError(f"expected base64url as {name}: {error}") from error
    return int.from_bytes(decoded, "big")
