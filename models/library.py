# SPDX-License-Identifier: Apache-2.0
"""The models a person has: the catalogue, and manifests in a folder of their own."""

import os
from pathlib import Path

from models.manifest import Manifest, ManifestError, catalogue, parse_manifest, render_manifest


def manifest_folder() -> Path:
    """Where a user's own manifests lie, one `NAME.toml` for each model."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return config / "sottovoce" / "models"


def own_manifests() -> dict[str, Manifest]:
    """The user's own manifests, by name. Raises ManifestError, naming the file."""
    own: dict[str, Manifest] = {}
    for path in sorted(manifest_folder().glob("*.toml")):
        try:
            manifest = parse_manifest(path.read_text(encoding="utf-8"))
        except (ManifestError, OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: {error}") from None
        if path.stem != manifest.name:
            raise ManifestError(f"{path} is the manifest of {manifest.name}, and must have its name")
        if manifest.name in catalogue():
            raise ManifestError(f"{path} has the name of a model in the catalogue")
        own[manifest.name] = manifest
    return own


def known_manifests() -> dict[str, Manifest]:
    """All models there are, by name. Raises ManifestError."""
    return dict(sorted((catalogue() | own_manifests()).items()))


def find_known(name: str) -> Manifest:
    """The model of this name, of the catalogue or the user's own. Raises ManifestError."""
    known = known_manifests()
    if name not in known:
        raise ManifestError(f'no model "{name}"; there are: {", ".join(known)}')
    return known[name]


def add_manifest(manifest: Manifest, *, replace: bool = False) -> Path:
    """Write a manifest into the user's folder. Raises ManifestError where its name is taken."""
    path = manifest_folder() / f"{manifest.name}.toml"
    if manifest.name in catalogue():
        raise ManifestError(f"{manifest.name} is in the catalogue already: choose another name")
    if path.exists() and not replace:
        raise ManifestError(f"{path} exists already: choose another name, or --replace")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    unfinished.write_text(render_manifest(manifest), encoding="utf-8")
    unfinished.replace(path)
    return path
