# SPDX-License-Identifier: Apache-2.0
"""Intel TDX: what the quoting enclave signs, Intel's statements about the platform, and how to judge both.

quote: the quote of versions 4 and 5, parsed
pem: certificates in their text form
p256: certificates and revocation lists signed with ECDSA P-256
certificates: Intel's chain to the platform's key, with the SGX extension
documents: a strict reader of JSON, and of the exact bytes a signature inside it covers
collateral: TCB info, quoting enclave identity, their chains and the revocation lists
tcb: Intel's algorithm from a quote and collateral to a status
policy: what a verifier accepts
platform: what a quote and its collateral prove about a machine at any time, and a cache of it
rules: the checks of attestation.md 7.3 and 7.4, in that order
event_log: the firmware's event log, parsed and replayed
dstack_log: the log of dstack's guest agent, in the same form
log_checks: what a log explains of a quote's registers, as checks
details: the typed fields of a verdict
"""
