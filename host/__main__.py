# SPDX-License-Identifier: Apache-2.0
"""Run a host: `python -P -m host --config FILE`."""

import argparse
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvicorn

from host import adapters
from host.config import Config, ConfigError, parse_config
from host.gateway import application


def server(config: Config) -> uvicorn.Server:
    """The HTTP server. It keeps no access log: who asked when is nobody's business."""
    settings = uvicorn.Config(
        application(config.link, adapters.routes(config.link, config.adapters)),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="critical",  # what goes wrong is told to the client, and by /healthz
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(settings)


def main() -> int:
    """Serve until told to stop; 2 for a configuration that cannot be run, or an address that is taken."""
    parser = argparse.ArgumentParser(
        prog="python -P -m host", description="Run the untrusted host of one enclave."
    )
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="see docs/operations.md")
    arguments = parser.parse_args()
    try:
        config = parse_config(arguments.config.read_text(encoding="utf-8"))
        listener = listen(config)
    except (ConfigError, OSError, OverflowError, UnicodeDecodeError) as error:
        sys.stderr.write(f"the host does not start: {arguments.config}: {error}\n")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listener, suppress(KeyboardInterrupt):  # the server stops gracefully, then passes the signal on
        server(config).run(sockets=[listener])
    return 0


def listen(config: Config) -> socket.socket:
    """The socket that people reach this host at. Raises OSError."""
    family = socket.AF_INET6 if ":" in config.listen_host else socket.AF_INET
    return socket.create_server((config.listen_host, config.listen_port), family=family)


if __name__ == "__main__":
    sys.exit(main())
