# SPDX-License-Identifier: Apache-2.0
"""What a verdict says, in the words of standards: EAR as JWT or CWT, and evidence in its wrapper (CMW).

trust: the eight aspects and four tiers of AR4SI
aspects: which checks speak of which aspect
appraisal: a verdict in those aspects, never claiming more than was checked
ear: an attestation result as a value
serialization: names and forms of its claims in JSON and in CBOR
members: claims of a map, taken out one by one
platform: what is known of the machine, as claims
claims: results to claims and back, strictly
values: strict JSON, CBOR and base64url
keys: the two signature algorithms, each tied to its kind of key
jwt: results as JSON Web Tokens
cwt: results as CBOR Web Tokens in COSE_Sign1
cmw: evidence, reports and results wrapped with their media type
"""
