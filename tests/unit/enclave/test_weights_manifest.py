# SPDX-License-Identifier: Apache-2.0
"""An enclave loads no weights that are otherwise than their manifest tells clients."""

from dataclasses import replace
from pathlib import Path

import pytest

from enclave.weights import WeightsError, seal_weights
from models.describe import describe
from models.manifest import ToolFormat
from tests.fakes.gguf import Parts


@pytest.mark.parametrize(
    ("claim", "named"),
    [
        ({"tools": ToolFormat.TAGGED}, "tool format is none, the manifest says tagged"),
        ({"tools": ToolFormat.LLAMA3, "context_tokens": 65}, "context is 64, .*; tool format is none"),
        ({"template": bytes(32)}, "chat template"),
        ({"quantisation": "Q8_0"}, "quantisation"),
        ({"architecture": "gemma3"}, "architecture"),
    ],
)
def test_a_manifest_that_promises_something_else(
    tmp_path: Path, claim: dict[str, object], named: str
) -> None:
    path = tmp_path / "weights.gguf"
    path.write_bytes(Parts().file())
    manifest = replace(describe(path), **claim)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=named):
        seal_weights(path, manifest)
