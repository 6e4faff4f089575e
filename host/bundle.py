# SPDX-License-Identifier: Apache-2.0
"""`python -P -m host.bundle`: make an offline bundle of endorsements for a machine, and look into one."""

import argparse
import asyncio
import sys
import tempfile
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from host import relay
from host.config import Config, parse_config
from host.config_error import ConfigError
from host.endorsement_bundle import CHAIN_SUFFIX, MAX_ZIP_ENTRIES, Bundle, BundleError
from host.endorsement_dates import next_update_of_json, next_update_of_list
from host.endorsement_fetch import FetchError, SystemWorld
from host.endorsement_forms import FormError, certificates, check_der, signed_json
from host.endorsement_requests import MAX_LIST_BYTES, Product, RequestValueError
from host.endorsement_settings import Settings
from host.endorsement_subjects import Subject, SubjectError, questions, subject_of
from host.endorsements import open_endorsements
from host.gateway import public_document
from host.link import LinkError

FETCH_EPILOG = """\
examples:
  python -P -m host.bundle fetch --config host.toml --out bundle/
  python -P -m host.bundle fetch --evidence evidence.json --out bundle/
"""
INSPECT_EPILOG = """\
examples:
  python -P -m host.bundle inspect bundle/ --evidence evidence.json
"""
EPILOG = FETCH_EPILOG + INSPECT_EPILOG.removeprefix("examples:\n")
FAILURES: Final = (
    BundleError,
    ConfigError,
    FetchError,
    FormError,
    LinkError,
    OSError,
    RequestValueError,
    SubjectError,
    UnicodeDecodeError,
    zipfile.BadZipFile,
)


class _Options(argparse.Namespace):
    command: str
    config: Path | None
    evidence: Path | None
    product: str | None
    out: Path
    bundle: Path


@dataclass(frozen=True, slots=True)
class Line:
    """What is said of one file. A file that is of no use is a fault."""

    name: str
    text: str
    fault: bool


def main(arguments: list[str] | None = None) -> int:
    """Run one command: 0 when all is well, 1 when a bundle lacks something or is out of date, 2 otherwise."""
    options = parser().parse_args(arguments, _Options())
    try:
        return _fetch(options) if options.command == "fetch" else _inspect(options)
    except FAILURES as error:
        sys.stderr.write(f"{options.command}: {error}\n")
        return 2


def _fetch(options: _Options) -> int:
    config = _config(options)
    settings = (config.endorsements if config else None) or Settings()
    product = Product(options.product) if options.product else settings.product
    subject = _subject(_document(options, config), product)
    _write(options.out, asyncio.run(_fetched(replace(settings, bundle=None, offline=False), subject)))
    return _inspect(options, options.out)


async def _fetched(settings: Settings, subject: Subject) -> dict[str, bytes]:
    """All files. Raises FetchError where one cannot be had, and OSError."""
    files: dict[str, bytes] = {}
    async with open_endorsements(settings, SystemWorld()) as endorsements:
        for question in questions(subject):
            found = await endorsements.get(question)
            files[question.name] = found.content
            if question.chain_header:
                files[question.name + CHAIN_SUFFIX] = found.chain
    return files


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Replace what is there, each file as a whole: a host may be reading them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(content)
        Path(temporary).chmod(0o644)  # what vendors say is public
        Path(temporary).replace(folder / name)


def _inspect(options: _Options, place: Path | None = None) -> int:
    place, now = place or options.bundle, SystemWorld().now()
    lines = [_line(name, content, now) for name, content in sorted(_entries(place).items())]
    if options.evidence:
        product = Product(options.product) if options.product else None
        lines += _missing(place, _subject(options.evidence.read_bytes(), product))
    for line in lines:
        sys.stdout.write(f"{'fault' if line.fault else 'ok   '}  {line.name}: {line.text}\n")
    return 1 if not lines or any(line.fault for line in lines) else 0


def _missing(place: Path, subject: Subject) -> list[Line]:
    """What the bundle does not have of what this machine needs."""
    bundle = Bundle(place)
    lacking = [question.name for question in questions(subject) if bundle.get(question) is None]
    return [Line(name, "missing, and this machine needs it", fault=True) for name in lacking]


def _entries(place: Path) -> dict[str, bytes]:
    """Every file, each up to the largest that any answer may be."""
    if place.is_dir():
        paths = sorted(path for path in place.iterdir() if path.is_file())
        return {path.name: _bounded(path.open("rb"), path.name) for path in paths}
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        if len(names) > MAX_ZIP_ENTRIES:
            raise BundleError(f"{place}: expected at most {MAX_ZIP_ENTRIES} entries, found {len(names)}")
        return {name: _bounded(archive.open(name), name) for name in names}


def _bounded(file: IO[bytes], name: str) -> bytes:
    with file:
        content = file.read(MAX_LIST_BYTES + 1)
    if len(content) > MAX_LIST_BYTES:
        raise BundleError(f"{name} exceeds {MAX_LIST_BYTES} bytes")
    return content


def _line(name: str, content: bytes, now: float) -> Line:
    """What a file is by its name, and until when it is good."""
    try:
        if name.endswith(".pem"):
            return Line(name, f"{len(certificates(content))} certificates", fault=False)
        if name.endswith(".json"):
            signed_json(content)
            return _dated(name, next_update_of_json(content), now)
        check_der(content)
    except FormError as error:
        return Line(name, str(error), fault=True)
    if name.endswith(".crl"):
        return _dated(name, next_update_of_list(content), now)
    return Line(name, f"a certificate of {len(content)} bytes", fault=False)


def _dated(name: str, expires_at: int | None, now: float) -> Line:
    if expires_at is None:
        return Line(name, "does not say when its next update is", fault=True)
    moment = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    expired = expires_at <= now
    return Line(name, f"{'expired' if expired else 'good until'} {moment}", fault=expired)


def _subject(document: bytes, product: Product | None) -> Subject:
    subject = subject_of(document, product)
    if subject is None:
        raise SubjectError("this evidence brings its endorsements; nothing is missing")
    return subject


def _document(options: _Options, config: Config | None) -> bytes:
    if options.evidence:
        return options.evidence.read_bytes()
    if config is None:
        raise ConfigError("give --config to ask a running enclave, or --evidence for a document in a file")
    return asyncio.run(public_document(config.link, relay.EVIDENCE_PATH))


def _config(options: _Options) -> Config | None:
    return parse_config(options.config.read_text(encoding="utf-8")) if options.config else None


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -P -m host.bundle",
        description="Offline bundles of what AMD and Intel say about a machine. Clients verify it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = options.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetch = commands.add_parser(
        "fetch",
        help="ask the vendors for everything that this machine's evidence needs",
        epilog=FETCH_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("--config", type=Path, metavar="FILE", help="the host's: its link and [endorsements]")
    fetch.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to put the files")
    inspect = commands.add_parser(
        "inspect",
        help="what is in a bundle, and until when it is good",
        epilog=INSPECT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("bundle", type=Path, help="a folder or a zip file")
    for command in (fetch, inspect):
        command.add_argument("--evidence", type=Path, metavar="FILE", help="the document of an enclave")
        command.add_argument(
            "--product", choices=list(Product), help="for reports of version 2, which do not say it"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
