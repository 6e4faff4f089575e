# SPDX-License-Identifier: Apache-2.0
"""What a client accepts of an SEV-SNP guest and its machine beyond code and place (attestation.md 7.2).

The table `[snp]` of a policy. Every setting has a default, and each default says what it accepts; "any" is
a value. docs/attestation-policy.md explains each.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeVar

from attestation.settings import (
    ANY,
    AnyValue,
    PolicyError,
    Requirement,
    Toml,
    boolean,
    check_names,
    digests,
    digests_or_any,
    integer,
    integers,
    requirements,
    table_of,
    texts_or_any,
)
from attestation.snp.report import GuestPolicy, PlatformInfo

# Bits of the guest policy that are judged on their own, and the one that is always set.
_JUDGED_ELSEWHERE: Final = GuestPolicy.RESERVED_ONE | GuestPolicy.MIGRATION_AGENT | GuestPolicy.DEBUG
GUEST_BITS: Final = MappingProxyType(
    {str(bit.name).lower(): bit for bit in GuestPolicy if bit not in _JUDGED_ELSEWHERE}
)
PLATFORM_BITS: Final = MappingProxyType({str(bit.name).lower(): bit for bit in PlatformInfo})
DEFAULT_PLATFORM: Final = MappingProxyType({PlatformInfo.ALIAS_CHECK_COMPLETE: Requirement.REQUIRED})

MAX_MITIGATIONS: Final = 2**64 - 1
MAX_GUEST_SVN: Final = 2**32 - 1
Bit = TypeVar("Bit")
_ABI: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class SnpPolicy:
    """Requirements on a report. A bit that `guest_policy` or `platform` does not name may be either."""

    vmpls: frozenset[int] = frozenset({0})
    migration_agents: frozenset[bytes] = frozenset()
    accept_masked_chip_id: bool = False
    providers: frozenset[str] | AnyValue = frozenset()
    platform: Mapping[PlatformInfo, Requirement] = field(default_factory=lambda: DEFAULT_PLATFORM)
    guest_policy: Mapping[GuestPolicy, Requirement] = field(default_factory=lambda: MappingProxyType({}))
    abi: tuple[int, int] = (0, 0)
    mitigations: int = 0
    guest_svn: int = 0
    family_ids: frozenset[bytes] | AnyValue = ANY
    image_ids: frozenset[bytes] | AnyValue = ANY
    id_key_digests: frozenset[bytes] | AnyValue = ANY
    author_key_digests: frozenset[bytes] | AnyValue = ANY
    host_data: frozenset[bytes] | AnyValue = ANY


_SIZES: Final = MappingProxyType(
    {"family_ids": 16, "image_ids": 16, "id_key_digests": 48, "author_key_digests": 48, "host_data": 32}
)
_SETTINGS: Final = frozenset(
    {
        *_SIZES,
        "abi",
        "accept_masked_chip_id",
        "guest_policy",
        "guest_svn",
        "migration_agents",
        "mitigations",
        "platform",
        "providers",
        "vmpls",
    }
)


def parse_snp_policy(value: Toml) -> SnpPolicy:
    """Read the table `[snp]`; PolicyError for an unknown or malformed setting."""
    table = table_of(value, "snp")
    check_names(table, required=frozenset(), optional=_SETTINGS, where="[snp]")
    guest = requirements(table.get("guest_policy", {}), "snp.guest_policy", frozenset(GUEST_BITS))
    platform = requirements(table.get("platform", {}), "snp.platform", frozenset(PLATFORM_BITS))
    identities = {
        name: digests_or_any(table.get(name, ANY.value), f"snp.{name}", size) for name, size in _SIZES.items()
    }
    return SnpPolicy(
        vmpls=integers(table.get("vmpls", [0]), "snp.vmpls", 3),
        migration_agents=digests(table.get("migration_agents", []), "snp.migration_agents", 32),
        accept_masked_chip_id=boolean(table.get("accept_masked_chip_id", False), "snp.accept_masked_chip_id"),
        providers=texts_or_any(table.get("providers", []), "snp.providers"),
        platform=_named(
            {**DEFAULT_PLATFORM, **{PLATFORM_BITS[name]: wish for name, wish in platform.items()}}
        ),
        guest_policy=_named({GUEST_BITS[name]: wish for name, wish in guest.items()}),
        abi=_abi(table.get("abi", "0.0")),
        mitigations=_bounded(table.get("mitigations", 0), "snp.mitigations", MAX_MITIGATIONS),
        guest_svn=_bounded(table.get("guest_svn", 0), "snp.guest_svn", MAX_GUEST_SVN),
        **identities,
    )


def render_snp_policy(policy: SnpPolicy) -> list[str]:
    """The lines of `[snp]` and its tables; none for the defaults, whose updates a written policy follows."""
    if policy == SnpPolicy():
        return []
    guest = {name: policy.guest_policy.get(bit, Requirement.ANY) for name, bit in GUEST_BITS.items()}
    platform = {name: policy.platform.get(bit, Requirement.ANY) for name, bit in PLATFORM_BITS.items()}
    providers = policy.providers.value if isinstance(policy.providers, AnyValue) else sorted(policy.providers)
    return [
        "",
        "[snp]",
        f"vmpls = {json.dumps(sorted(policy.vmpls))}",
        f"migration_agents = {_hex(policy.migration_agents)}",
        f"accept_masked_chip_id = {json.dumps(policy.accept_masked_chip_id)}",
        f"providers = {json.dumps(providers)}",
        f'abi = "{policy.abi[0]}.{policy.abi[1]}"',
        f"mitigations = {policy.mitigations:#x}",
        f"guest_svn = {policy.guest_svn}",
        f"family_ids = {_hex(policy.family_ids)}",
        f"image_ids = {_hex(policy.image_ids)}",
        f"id_key_digests = {_hex(policy.id_key_digests)}",
        f"author_key_digests = {_hex(policy.author_key_digests)}",
        f"host_data = {_hex(policy.host_data)}",
        "",
        "[snp.guest_policy]",
        *(f'{name} = "{wish.value}"' for name, wish in guest.items()),
        "",
        "[snp.platform]",
        *(f'{name} = "{wish.value}"' for name, wish in platform.items()),
    ]


def _named(wishes: Mapping[Bit, Requirement]) -> Mapping[Bit, Requirement]:
    """The bits about which something is demanded, so that equal policies compare equal."""
    return MappingProxyType({bit: wish for bit, wish in wishes.items() if wish is not Requirement.ANY})


def _abi(value: Toml) -> tuple[int, int]:
    found = _ABI.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PolicyError('expected a version such as "1.58" as snp.abi')
    return int(found[1]), int(found[2])


def _bounded(value: Toml, name: str, largest: int) -> int:
    number = integer(value, name)
    if number > largest:
        raise PolicyError(f"expected an integer up to {largest:#x} as {name}")
    return number


def _hex(values: frozenset[bytes] | AnyValue) -> str:
    return json.dumps(values.value if isinstance(values, AnyValue) else sorted(map(bytes.hex, values)))
