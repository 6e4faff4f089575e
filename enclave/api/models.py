# SPDX-License-Identifier: Apache-2.0
"""The list of models, which is one long."""

import msgspec

from enclave.api.errors import ApiError
from models.manifest import Manifest

PATH = "/v1/models"


def model_document(manifest: Manifest, context_tokens: int) -> dict[str, object]:
    """What is said of the model: its digest is the one in the evidence."""
    return {
        "id": manifest.name,
        "object": "model",
        "created": 0,
        "owned_by": "sottovoce",
        "context_length": context_tokens,
        "sha256": manifest.digest.hex(),
        "title": manifest.title,
        "licence": manifest.licence,
        "architecture": manifest.architecture,
        "quantisation": manifest.quantisation,
        "template_sha256": None if manifest.template is None else manifest.template.hex(),
        "tools": manifest.tools.value,
    }


def models_document(manifest: Manifest, context_tokens: int, path: str) -> bytes:
    """The list, or the one model that a path names. Raises ApiError."""
    model = model_document(manifest, context_tokens)
    name = path.removeprefix(PATH).removeprefix("/")
    if not name:
        return msgspec.json.encode({"object": "list", "data": [model]})
    check_model(manifest, name)
    return msgspec.json.encode(model)


def check_model(manifest: Manifest, name: str) -> None:
    """Raise ApiError for another model than the one that is served."""
    if name != manifest.name:
        message = f"there is no model {name} here; this enclave serves {manifest.name}"
        raise ApiError(404, message, code="model_not_found", param="model")
