# SPDX-License-Identifier: Apache-2.0
"""The command line for models: list, fetch, verify, describe and requantise them."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from importlib import metadata
from pathlib import Path

from models import screen
from models.describe import describe, differences, read_gguf
from models.fetch import FetchError, WrongWeightsError, digest_of, fetch, is_whole, local, weights_path
from models.gguf import GgufError
from models.library import add_manifest, find_known, known_manifests
from models.manifest import ADDRESS, NAME, Address, Manifest, ManifestError, render_manifest
from models.requantise import TYPES, RequantiseError, measure, requantise


class ExitCode(IntEnum):
    """How the command ends; the numbers mean what they mean for `sottovoce`."""

    DONE = 0
    REFUSED = 10
    NOT_HAD = 20
    INTERRUPTED = 130


DESCRIPTION = """\
Weights are known by the SHA-256 of their GGUF file. A manifest says which digest a name stands for, under
which licence, and where to get it. The catalogue's manifests ship with the project; your own lie in
~/.config/sottovoce/models, one TOML file each. Weights are kept in ~/.cache/sottovoce/models.
"""
REQUANTISE = """\
Make a new file out of the weights in another format, measure perplexity on a fixed text and speed of both,
and add a manifest of the new file to your own. Formats with special kernels, Q4_0 above all, are far faster
on CPUs; perplexity says what that costs (less is better).
"""
EPILOG = """\
examples:
  sottovoce-models list
  sottovoce-models fetch smollm2-135m-instruct
  sottovoce-models manifest ~/Downloads/some-model.Q4_0.gguf --licence MIT --add
  sottovoce-models verify some-model.q4_0
  sottovoce-models verify ~/Downloads/some-model.Q4_0.gguf
  sottovoce-models requantise smollm2-135m-instruct --type Q4_0

exit codes:
   0  done
   2  wrong usage
  10  refused: the weights are not what the manifest says, or not a GGUF file that may be loaded
  20  could not be had: no such model, no source, no network, no space
"""

FAILURES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (WrongWeightsError, ExitCode.REFUSED),
    (GgufError, ExitCode.REFUSED),
    (FetchError, ExitCode.NOT_HAD),
    (ManifestError, ExitCode.NOT_HAD),
    (RequantiseError, ExitCode.NOT_HAD),
    (OSError, ExitCode.NOT_HAD),
)


def main() -> int:
    """Run one command and return its exit code."""
    arguments = parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except tuple(kind for kind, _ in FAILURES) as error:
        code = next(code for kind, code in FAILURES if isinstance(error, kind))
        if arguments.json:
            show_json({"error": str(error), "exit_code": code})
        else:
            screen.complain(str(error))
        return code


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="sottovoce-models",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=metadata.version("sottovoce"))
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object, for programs")

    def add(name: str, purpose: str, *examples: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            parents=[common],
            help=purpose,
            description=purpose[0].upper() + purpose[1:] + ".",
            epilog="examples:\n" + "".join(f"  sottovoce-models {name} {each}\n" for each in examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    listing = add("list", "the models there are, and which are fetched", "", "--json")
    listing.set_defaults(command=run_list)

    fetching = add(
        "fetch",
        "bring a model's weights, and check them",
        "smollm2-135m-instruct",
        "some-model.q4_0 --from ~/Downloads/some-model.Q4_0.gguf",
    )
    fetching.set_defaults(command=run_fetch)
    fetching.add_argument("name", help="a model of the list")
    fetching.add_argument(
        "--from", dest="source", metavar="WHERE", type=source, help="a file or an https address instead"
    )

    verifying = add(
        "verify",
        "check digest, GGUF header and manifest of weights",
        "smollm2-135m-instruct",
        "~/Downloads/some-model.Q4_0.gguf --json",
    )
    verifying.set_defaults(command=run_verify)
    verifying.add_argument("what", metavar="NAME|FILE", help="a model of the list, or a GGUF file")

    describing = add(
        "manifest",
        "make a manifest of a GGUF file",
        "~/Downloads/some-model.Q4_0.gguf",
        "~/Downloads/some-model.Q4_0.gguf --name some-model --licence MIT --add",
    )
    describing.set_defaults(command=run_manifest)
    describing.add_argument("file", type=Path, help="a GGUF file on this machine")
    describing.add_argument(
        "--name", type=name, help="what to call the model; otherwise made of the file's name"
    )
    describing.add_argument("--licence", help="its licence; otherwise what the file says")
    add_adding_options(describing, "write it into your own manifests instead of printing it")

    requantising = add(
        "requantise",
        "store weights in another format, and measure what that costs and gains",
        "smollm2-135m-instruct",
        "smollm2-135m-instruct --type Q8_0 --as small --replace",
    )
    requantising.description = REQUANTISE
    requantising.set_defaults(command=run_requantise)
    requantising.add_argument("name", help="a model of the list, fetched already")
    requantising.add_argument("--type", choices=sorted(TYPES), default="Q4_0", help="the new format (Q4_0)")
    requantising.add_argument("--as", dest="new_name", type=name, help="what to call the new model")
    requantising.add_argument("--replace", action="store_true", help="overwrite a manifest of this name")
    return top


def add_adding_options(parser: argparse.ArgumentParser, text: str) -> None:
    """Whether a manifest is kept, and what happens to an older one."""
    parser.add_argument("--add", action="store_true", help=text)
    parser.add_argument("--replace", action="store_true", help="overwrite a manifest of this name")


def name(text: str) -> str:
    """A name for a model."""
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "a name is up to 64 of a-z 0-9 . _ - and begins with a letter or digit"
        )
    return text


def source(text: str) -> Address:
    """An https address, or a file."""
    if text.startswith("https://") and ADDRESS.fullmatch(text):
        return Address(text)
    if "://" in text:
        raise argparse.ArgumentTypeError("only https addresses and files are sources")
    return local(Path(text))


def run_list(arguments: argparse.Namespace) -> int:
    """Show what is known and what is fetched."""
    models = [
        facts(manifest) | {"fetched": weights_path(manifest).exists()}
        for manifest in known_manifests().values()
    ]
    if arguments.json:
        show_json({"models": models})
    else:
        screen.show_models(models)
    return ExitCode.DONE


def run_fetch(arguments: argparse.Namespace) -> int:
    """Bring weights and say where they are."""
    manifest = find_known(arguments.name)
    with screen.progress(shown=not arguments.json) as progress:
        path = fetch(manifest, arguments.source, progress)
    found = differences(manifest, read_gguf(path))
    if found:
        raise WrongWeightsError("; ".join(found))
    if arguments.json:
        show_json(facts(manifest) | {"path": str(path)})
    else:
        sys.stdout.write(f"{path}\n")
    return ExitCode.DONE


def run_verify(arguments: argparse.Namespace) -> int:
    """Check weights against a manifest: the named one, or the one with their digest."""
    known = known_manifests()
    path = Path(arguments.what)
    with screen.progress(shown=not arguments.json) as progress:
        if arguments.what in known:
            manifest = known[arguments.what]
            path = weights_path(manifest)
            if not path.exists():
                raise FetchError(f"{manifest.name} is not fetched")
            if not is_whole(path, manifest, progress):
                raise WrongWeightsError(f"{path} does not have the digest of {manifest.name}")
        else:
            manifest = by_digest(path, digest_of(path, progress), known)
    found = differences(manifest, read_gguf(path))
    if found:
        raise WrongWeightsError("; ".join(found))
    if arguments.json:
        show_json(facts(manifest) | {"path": str(path), "verified": True})
    else:
        screen.show_verified(manifest, path)
    return ExitCode.DONE


def by_digest(path: Path, digest: bytes, known: dict[str, Manifest]) -> Manifest:
    """The manifest of a file. Raises GgufError and WrongWeightsError."""
    read_gguf(path)  # whether it could be loaded at all is said first
    for manifest in known.values():
        if manifest.digest == digest:
            return manifest
    raise WrongWeightsError(
        f"{path} is a sound GGUF file of digest {digest.hex()}, and no manifest names it: "
        f"sottovoce-models manifest {path} --add"
    )


def run_manifest(arguments: argparse.Namespace) -> int:
    """Make a manifest, to be printed or kept."""
    manifest = describe(arguments.file, name=arguments.name, source=local(arguments.file))
    if arguments.licence:
        manifest = replace(manifest, licence=arguments.licence)
    text = render_manifest(manifest)
    written = add_manifest(manifest, replace=arguments.replace) if arguments.add else None
    if arguments.json:
        show_json(facts(manifest) | {"manifest": text, "written": str(written) if written else None})
    else:
        sys.stdout.write(f"{written}\n" if written else text)
    return ExitCode.DONE


def run_requantise(arguments: argparse.Namespace) -> int:
    """Make the other file, and say what it costs and gains."""
    old = find_known(arguments.name)
    path = weights_path(old)
    if not is_whole(path, old):
        raise FetchError(f"{old.name} is not fetched: sottovoce-models fetch {old.name}")
    with screen.working(f"making {arguments.type}", shown=not arguments.json):
        new, new_path = requantise(old, path, arguments.type, arguments.new_name)
    written = add_manifest(new, replace=arguments.replace)
    with screen.working("measuring both", shown=not arguments.json):
        before, after = measure(path), measure(new_path)
    if arguments.json:
        measured = {"old": before.numbers(), "new": after.numbers()}
        show_json(facts(new) | {"path": str(new_path), "written": str(written), "measured": measured})
    else:
        screen.show_comparison(old, before, new, after)
        sys.stdout.write(f"{written}\n")
    return ExitCode.DONE


def facts(manifest: Manifest) -> dict[str, object]:
    """What a manifest says, for programs."""
    return {
        "name": manifest.name,
        "title": manifest.title,
        "sha256": manifest.digest.hex(),
        "size_bytes": manifest.size_bytes,
        "licence": manifest.licence,
        "architecture": manifest.architecture,
        "quantisation": manifest.quantisation,
        "context_tokens": manifest.context_tokens,
        "template_sha256": manifest.template.hex() if manifest.template else None,
        "tools": manifest.tools.value,
    }


def show_json(document: dict[str, object]) -> None:
    """Print one JSON object."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
