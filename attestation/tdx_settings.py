# SPDX-License-Identifier: Apache-2.0
"""The table `[tdx]` of a policy, read and written. attestation/tdx/policy.py says what each setting means."""

import json
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeVar

from attestation.settings import (
    ANY,
    AnyValue,
    PolicyError,
    Toml,
    boolean,
    check_names,
    digests,
    digests_or_any,
    integer,
    table_of,
    texts,
)
from attestation.tdx import policy as tdx_policy
from attestation.tdx.certificates import PlatformFlag
from attestation.tdx.collateral import TcbStatus
from attestation.tdx.policy import TdMeasurement, TdxPolicy, TdxPolicyError
from attestation.tdx.quote import TdAttributes

XFAM_SIZE: Final = 8
_BUILT_IN: Final = tdx_policy.default_policy()
_STATUSES: Final = MappingProxyType({status.value: status for status in TcbStatus})
_FLAGS: Final = MappingProxyType({flag.value: flag for flag in PlatformFlag})
_ATTRIBUTES: Final = MappingProxyType({str(bit.name).lower(): bit for bit in TdAttributes})
_LISTS_OF_DIGESTS: Final = MappingProxyType(
    {
        "fmspcs": tdx_policy.FMSPC_SIZE,
        "mrconfigids": tdx_policy.DIGEST_SIZE,
        "mrownerconfigs": tdx_policy.DIGEST_SIZE,
        "mrowners": tdx_policy.DIGEST_SIZE,
        "mrseams": tdx_policy.DIGEST_SIZE,
        "ppids": tdx_policy.PPID_SIZE,
    }
)
_SETTINGS: Final = frozenset(
    {
        *_LISTS_OF_DIGESTS,
        "accepted_statuses",
        "allow_sept_ve_off",
        "allowed_attributes",
        "allowed_service_tds",
        "max_collateral_age_seconds",
        "measurements",
        "minimum_evaluation_data_number",
        "out_of_date_grace_days",
        "platform_flags",
        "tolerated_advisories",
        "xfam",
    }
)
_REGISTERS: Final = ("rtmr0", "rtmr1", "rtmr2", "rtmr3")

Choice = TypeVar("Choice", bound=Enum)


def parse_tdx_policy(value: Toml) -> TdxPolicy:
    """Read the table `[tdx]`; PolicyError. Settings for both vendors are added where a quote is judged."""
    table = table_of(value, "tdx")
    check_names(table, required=frozenset(), optional=_SETTINGS, where="[tdx]")
    try:
        return TdxPolicy(
            measurements=_measurements(table.get("measurements", [])),
            accepted_statuses=_choices(table, "accepted_statuses", _STATUSES, _BUILT_IN.accepted_statuses),
            platform_flags=_choices(table, "platform_flags", _FLAGS, _BUILT_IN.platform_flags),
            tolerated_advisories=frozenset(
                texts(table.get("tolerated_advisories", []), "tdx.tolerated_advisories")
            ),
            minimum_evaluation_data_number=_number(
                table, "minimum_evaluation_data_number", _BUILT_IN.minimum_evaluation_data_number
            ),
            out_of_date_grace_days=_number(table, "out_of_date_grace_days", _BUILT_IN.out_of_date_grace_days),
            max_collateral_age_seconds=_number(
                table, "max_collateral_age_seconds", _BUILT_IN.max_collateral_age_seconds
            ),
            allowed_attributes=_attributes(table),
            allow_sept_ve_off=boolean(table.get("allow_sept_ve_off", False), "tdx.allow_sept_ve_off"),
            allowed_service_tds=digests(
                table.get("allowed_service_tds", []), "tdx.allowed_service_tds", tdx_policy.DIGEST_SIZE
            ),
            xfam=_value_or_any(table.get("xfam", ANY.value), "tdx.xfam", XFAM_SIZE),
            fmspcs=_digests(table, "fmspcs", _BUILT_IN.fmspcs),
            ppids=_digests(table, "ppids", _BUILT_IN.ppids),
            mrconfigids=_digests(table, "mrconfigids", _BUILT_IN.mrconfigids),
            mrowners=_digests(table, "mrowners", _BUILT_IN.mrowners),
            mrownerconfigs=_digests(table, "mrownerconfigs", _BUILT_IN.mrownerconfigs),
            mrseams=_digests(table, "mrseams", _BUILT_IN.mrseams),
        )
    except TdxPolicyError as error:
        raise PolicyError(f"[tdx]: {error}") from error


def render_tdx_policy(policy: TdxPolicy) -> list[str]:
    """The lines of `[tdx]`; settings at their defaults are left out, so that a policy follows updates."""
    lines = {
        "accepted_statuses": _names(policy.accepted_statuses),
        "allow_sept_ve_off": json.dumps(policy.allow_sept_ve_off),
        "allowed_attributes": json.dumps(
            sorted(name for name, bit in _ATTRIBUTES.items() if bit in policy.allowed_attributes)
        ),
        "allowed_service_tds": _hex(policy.allowed_service_tds),
        "max_collateral_age_seconds": str(policy.max_collateral_age_seconds),
        "minimum_evaluation_data_number": str(policy.minimum_evaluation_data_number),
        "out_of_date_grace_days": str(policy.out_of_date_grace_days),
        "platform_flags": _names(policy.platform_flags),
        "tolerated_advisories": json.dumps(sorted(policy.tolerated_advisories)),
        "xfam": json.dumps(_text(policy.xfam)),
        **{name: _hex(getattr(policy, name)) for name in _LISTS_OF_DIGESTS},
    }
    changed = [
        f"{name} = {line}"
        for name, line in sorted(lines.items())
        if getattr(policy, name) != getattr(_BUILT_IN, name)
    ]
    tables = [
        line for known in sorted(policy.measurements, key=_order) for line in _render_measurement(known)
    ]
    return ["", "[tdx]", *changed, *tables] if changed or tables else []


def _render_measurement(known: TdMeasurement) -> list[str]:
    registers = (known.rtmr0, known.rtmr1, known.rtmr2, known.rtmr3)
    return [
        "",
        "[[tdx.measurements]]",
        f'mrtd = "{known.mrtd.hex()}"',
        *(f'{name} = "{_text(value)}"' for name, value in zip(_REGISTERS, registers, strict=True)),
    ]


def _order(known: TdMeasurement) -> tuple[str, ...]:
    values = (known.mrtd, known.rtmr0, known.rtmr1, known.rtmr2, known.rtmr3)
    return tuple(map(_text, values))


def _measurements(value: Toml) -> frozenset[TdMeasurement]:
    if not isinstance(value, list):
        raise PolicyError("expected [[tdx.measurements]]")
    return frozenset(_measurement(item) for item in value)


def _measurement(value: Toml) -> TdMeasurement:
    where, size = "tdx.measurements", tdx_policy.DIGEST_SIZE
    table = table_of(value, where)
    check_names(
        table,
        required=frozenset({"mrtd", "rtmr0", "rtmr1", "rtmr2"}),
        optional=frozenset({"rtmr3"}),
        where=f"[[{where}]]",
    )
    (mrtd,) = digests([table["mrtd"]], f"{where}.mrtd", size)
    values = {
        name: _value_or_any(table[name], f"{where}.{name}", size) for name in _REGISTERS if name in table
    }
    return TdMeasurement(mrtd=mrtd, **{"rtmr3": tdx_policy.ZERO_DIGEST, **values})


def _attributes(table: Mapping[str, Toml]) -> TdAttributes:
    if "allowed_attributes" not in table:
        return _BUILT_IN.allowed_attributes
    allowed = TdAttributes(0)
    for name in texts(table["allowed_attributes"], "tdx.allowed_attributes"):
        if name not in _ATTRIBUTES:
            raise PolicyError(f"expected attributes among {', '.join(_ATTRIBUTES)}, found {name!r}")
        allowed |= _ATTRIBUTES[name]
    return allowed


def _choices(
    table: Mapping[str, Toml], name: str, known: Mapping[str, Choice], built_in: frozenset[Choice]
) -> frozenset[Choice]:
    if name not in table:
        return built_in
    found = texts(table[name], f"tdx.{name}")
    if unknown := set(found) - known.keys():
        raise PolicyError(f"expected tdx.{name} among {', '.join(known)}, found {', '.join(sorted(unknown))}")
    return frozenset(known[text] for text in found)


def _digests(
    table: Mapping[str, Toml], name: str, built_in: frozenset[bytes] | AnyValue
) -> frozenset[bytes] | AnyValue:
    if name not in table:
        return built_in
    return digests_or_any(table[name], f"tdx.{name}", _LISTS_OF_DIGESTS[name])


def _number(table: Mapping[str, Toml], name: str, built_in: int) -> int:
    return integer(table.get(name, built_in), f"tdx.{name}")


def _value_or_any(value: Toml, name: str, size: int) -> bytes | AnyValue:
    if value == ANY.value:
        return ANY
    (found,) = digests([value], name, size)
    return found


def _text(value: bytes | AnyValue) -> str:
    return value.hex() if isinstance(value, bytes) else value.value


def _hex(values: frozenset[bytes] | AnyValue) -> str:
    return json.dumps(values.value if isinstance(values, AnyValue) else sorted(map(bytes.hex, values)))


def _names(values: frozenset[TcbStatus] | frozenset[PlatformFlag]) -> str:
    return json.dumps(sorted(value.value for value in values))
