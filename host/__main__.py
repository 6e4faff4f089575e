# SPDX-License-Identifier: Apache-2.0
"""Run a host: `python -P -m host --config FILE`."""

import argparse
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from host import adapters, relay
from host.config import Config, parse_config
from host.config_error import ConfigError
from host.endorsement_cache import Cache
from host.endorsement_fetch import SystemWorld
from host.endorsement_settings import Settings
from host.endorsements import open_endorsements
from host.gateway import application, public_document
from host.stapler import Stapler

EPILOG = """\
examples:
  python -P -m host --config host.toml

exit codes: 0 stopped; 2 a configuration that cannot be run, or an address that is taken
"""


def server(config: Config) -> uvicorn.Server:
    """The HTTP server. It keeps no access log: who asked when is nobody's business."""
    settings = uvicorn.Config(
        application(
            config.link,
            stapler(config.link, config.endorsements),
            adapters.routes(config.link, config.adapters),
        ),
        http="h11",
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_level="critical",  # what goes wrong is told to the client, and by /healthz
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(settings)


def stapler(link: str, settings: Settings | None) -> Stapler | None:
    """What adds endorsements to the evidence, where the configuration asks for it."""
    if settings is None:
        return None
    chosen, world = settings, SystemWorld()

    async def read() -> bytes:
        return await public_document(link, relay.EVIDENCE_PATH)

    return Stapler(lambda: open_endorsements(chosen, world), read, world, chosen.product)


def main() -> int:
    """Serve until told to stop; 2 for a configuration that cannot be run, or an address that is taken."""
    arguments = parser().parse_args()
    try:
        config = parse_config(arguments.config.read_text(encoding="utf-8"))
        if config.endorsements and config.endorsements.cache:
            Cache(config.endorsements.cache)  # a folder that cannot be made is an error now, not later
        listener = listen(config)
    except (ConfigError, OSError, OverflowError, UnicodeDecodeError) as error:
        sys.stderr.write(f"the host does not start: {arguments.config}: {error}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listener, suppress(KeyboardInterrupt):  # the server stops gracefully, then passes the signal on
        server(config).run(sockets=[listener])
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python -P -m host",
        description="Run the untrusted host of one enclave.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("--config", required=True, type=Path, metavar="FILE", help="see docs/operations.md")
    return options


def listen(config: Config) -> socket.socket:
    """The socket that people reach this host at. Raises OSError."""
    family = socket.AF_INET6 if ":" in config.listen_host else socket.AF_INET
    return socket.create_server((config.listen_host, config.listen_port), family=family)


if __name__ == "__main__":
    sys.exit(main())
