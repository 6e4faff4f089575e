# SPDX-License-Identifier: Apache-2.0
"""The untrusted courier: it moves ciphertext and public documents, and can read neither prompt nor answer.

gateway: the HTTP side
relay: the bytes of one exchange on the link, as a pure function
link: the connection to the enclave
adapters: routes for clients of other protocols, for a host that is configured to serve them
tng: what clients of TNG expect around chunked OHTTP
ehbp: what clients of the Encrypted HTTP Body Protocol send as fields
config: the closed schema of its configuration
config_error: what every part of it raises
health: whether the enclave's claims are current, for the operator
endorsements: certificates, revocation lists and collateral, from a bundle, a cache or the vendor
endorsement_requests: what can be asked of AMD's and Intel's services
endorsement_forms: the outer shapes of their answers
endorsement_fetch: one question over HTTP, with patience
endorsement_cache: answers on disk
endorsement_bundle: answers that somebody put beside the host
endorsement_settings: where the services are, and the bounds on asking them
endorsement_subjects: which machine a document is about
endorsement_dates: until when an answer is good
stapling: what was fetched, added to an evidence document
stapler: keeps that at hand for the enclave's machine
bundle: a program for operators that makes and inspects offline bundles
"""
