# SPDX-License-Identifier: Apache-2.0
"""Mistakes that no test can notice, each with the reason: module, line of code, change."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ACCEPTED: Final[Mapping[tuple[str, str, str], str]] = MappingProxyType({})
