# SPDX-License-Identifier: Apache-2.0
"""Settings in which Intel's algorithm concludes each status, by the machine's versions alone.

Collateral is the same in all of them: it has one level per status, and the platform reaches that level and
none above. A relaunch is advised where the TDX module was updated under a running trust domain, which quotes
of version 5 show.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from attestation.simulated.collateral import LEVELS, UNSUPPORTED_MICROCODE, Status
from attestation.simulated.intel import TdxSetting
from attestation.simulated.td_quote import TEE_TCB_SVN, BodyType

_EARLY_MICROCODE: Final[Mapping[Status, int]] = MappingProxyType(
    {level.status: level.early_microcode for level in LEVELS} | {Status.NOT_SUPPORTED: UNSUPPORTED_MICROCODE}
)
_LAUNCHED_WITH: Final[Mapping[Status, Status]] = MappingProxyType(
    {
        Status.TD_RELAUNCH_ADVISED: Status.OUT_OF_DATE,
        Status.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED: Status.OUT_OF_DATE_CONFIGURATION_NEEDED,
    }
)
_TDX_MICROCODE: Final = 2


def with_status(setting: TdxSetting, status: Status) -> TdxSetting:
    """The setting on a machine that has this status."""
    if status in _LAUNCHED_WITH:
        return _updated_since(with_version_5(setting), _LAUNCHED_WITH[status])
    components = bytes((_EARLY_MICROCODE[status],)) + setting.platform.components[1:]
    return replace(setting, platform=replace(setting.platform, components=components))


def with_version_5(setting: TdxSetting) -> TdxSetting:
    """The setting with a quote of version 5 whose body has the fields of TD 1.5, unless it has more."""
    body_type = max(setting.quote.body_type, BodyType.TD_1_5)
    return replace(setting, quote=replace(setting.quote, version=5, body_type=body_type))


def _updated_since(setting: TdxSetting, launched: Status) -> TdxSetting:
    """A trust domain started with the TDX microcode of a lower level, on a machine that is current now."""
    microcode = next(level.tdx_microcode for level in LEVELS if level.status is launched)
    svn = TEE_TCB_SVN[:_TDX_MICROCODE] + bytes((microcode,)) + TEE_TCB_SVN[_TDX_MICROCODE + 1 :]
    td = replace(setting.quote.td, tee_tcb_svn=svn, tee_tcb_svn2=TEE_TCB_SVN)
    return replace(setting, quote=replace(setting.quote, td=td))
