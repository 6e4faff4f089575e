# SPDX-License-Identifier: Apache-2.0
"""Proof that a key lives in a genuine enclave.

evidence: the public document that carries report, chain, keys and claims
binding: how report data commits to keys and claims
policy: what a client accepts
verify: evidence and policy in, a verified enclave or a refusal out
verdict: every check with what was expected, found, and why it matters
case: what checks examine, with every part parsed once
rules: the checks that are the same for all hardware
der: a strict reader of the DER subset that attestation certificates use
x509: certificates and revocation lists in that subset
snp: AMD SEV-SNP reports and certificates
simulated: a vendor of our own, with a real chain, for machines without the hardware
"""
