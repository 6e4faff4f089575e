# SPDX-License-Identifier: Apache-2.0
"""AMD SEV-SNP: what the processor signs, and the certificates of the key it signs with.

product: processor generations, and how each counts its patch levels
report: the attestation report, parsed
certificates: the chain from the chip's key to AMD's root
policy: what a client accepts beyond code and place
case: what the checks examine, and the cache of chains and lists
structure: the checks of attestation.md 7.1, in that order
appraisal: the checks of attestation.md 7.2, in that order
rules: both
details: the typed fields of a verdict
"""
