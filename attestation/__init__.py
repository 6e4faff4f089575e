# SPDX-License-Identifier: Apache-2.0
"""Proof that a key lives in a genuine enclave.

evidence: the public document that carries report, chain, keys and claims
binding: how report data commits to keys and claims
policy: what a client accepts
verify: evidence and policy in, a verified enclave or a refusal out
settings: readers of the values in a policy
tdx_settings: the table of a policy that is about TDX
details: what a verdict knows of the machine, as typed fields
verdict: every check with what was expected, found, and why it matters
case: how checks are made, and parts of evidence parsed once
cache: what was verified before, found by its bytes
rules: the checks that are the same for all hardware
der: a strict reader of the DER subset that attestation certificates use
x509: certificates and revocation lists in that subset
snp: AMD SEV-SNP reports and certificates
tdx: Intel TDX quotes and collateral
tdx_case: a quote within an appraisal
azure: what an Azure machine proves through its paravisor and virtual TPM
nvidia: reports and certificates of NVIDIA's GPUs
collect: asking the hardware for evidence, inside a guest
results: verdicts and evidence in the formats of others
simulated: a vendor of our own, with a real chain, for machines without the hardware
"""
