# SPDX-License-Identifier: Apache-2.0
"""All checks of an SEV-SNP report, in the order of attestation.md 7.1 and 7.2."""

from typing import Final

from attestation.case import Rule
from attestation.snp.appraisal import APPRAISAL
from attestation.snp.case import SnpCase
from attestation.snp.structure import STRUCTURE

RULES: Final[tuple[Rule[SnpCase], ...]] = STRUCTURE + APPRAISAL
