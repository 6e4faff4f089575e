# SPDX-License-Identifier: Apache-2.0
"""The part of cohere-tng that the conformance tests use."""

import httpx

class Transport(httpx.BaseTransport):
    def __init__(self, *, verify: dict[str, str] | None, ohttp: dict[str, str] | None = None) -> None: ...
