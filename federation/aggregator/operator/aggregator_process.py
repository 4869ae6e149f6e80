"""The aggregator process: adds up shares that mean nothing to it.

    python -m federation.aggregator.operator.aggregator_process --config FILE
    python -m federation.aggregator.operator.aggregator_process --home DIR --port N --name NAME    (in tests)

At first start it makes its keys in its folder, which must be empty or missing. When it serves,
it prints one line, `ready NAME ADDRESS`; its public.json is its entry for a plan's roster. On
SIGTERM or SIGINT it takes no new call, lets running ones end within a grace, and stops with exit
code 0; it stops with 1 and one sentence if it can't start.
"""

import signal

STOP = {signal.SIGTERM, signal.SIGINT}
if __name__ == "__main__":
    # Kept for `sigwait`, before NumPy starts threads: one that does not block a signal may get it.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)

import argparse
import logging
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from federation.aggregator import config as aggregator_config
from federation.aggregator import data_dir, grpc_server
from federation.aggregator import identity as aggregator_identity
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.operator import admin_api
from federation.aggregator.service import AggregatorService
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.vector_files import room_needed
from syft_code.errors import ConsiliumError, InvalidInput, require
from syft_code.operation import json_logs, metrics_http
from syft_code.operation.parent_exit import end_with_parent

GRACE_S = 5.0

log = logging.getLogger("federation.aggregator")  # also as the main module


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an aggregator until it is told to stop; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.end_with_starter:
        end_with_parent()
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold the keys
    try:
        config = _config(options)
        with data_dir.own(config.folder, make=True), room_needed(config.folder):
            _run(config)
    except ConsiliumError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _run(config: AggregatorConfig) -> None:
    home = config.folder
    json_logs.start(home / data_dir.LOG, level=config.log_level)
    data_dir.first_start(config)
    identity = aggregator_identity.load(home, name=config.name, hosts=config.hosts)
    with closing(AggregatorStore(home)) as store:
        server, bound = grpc_server.bind(
            host=f"[{config.host}]" if ":" in config.host else config.host,
            port=config.port,
            tls_key=identity.tls_key,
            certificate=identity.certificate,
        )
        public = aggregator_identity.publish(home, identity, address=config.address(bound))
        service = AggregatorService(config, identity, store, public)
        with (
            metrics_http.served(
                service.metrics, host=config.metrics_host, port=config.metrics_port
            ),
            admin_api.served(home, service),
        ):
            service.started()
            grpc_server.serve(server, service.aggregation)
            log.info("ready at %s", public.address)
            sys.stdout.write(f"ready {config.name} {public.address}\n")
            sys.stdout.flush()
            signal.sigwait(STOP)
            log.info("stopping: running calls may take %.0f s", config.stop_grace_s)
            server.stop(config.stop_grace_s).wait()
    log.info("stopped")


def _config(options: argparse.Namespace) -> AggregatorConfig:
    if options.config:
        return aggregator_config.load(options.config)
    require(
        None not in (options.home, options.name, options.port),
        "An aggregator must be told --config FILE, or --home, --name and --port.",
        error=InvalidInput,
    )
    return AggregatorConfig(
        name=options.name,
        home=str(options.home),
        port=options.port,
        host=options.host,
        researchers=tuple(options.researcher),
        stop_grace_s=GRACE_S,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m federation.aggregator.operator.aggregator_process", description=__doc__
    )
    parser.add_argument("--config", type=Path, help="the operator's TOML file")
    parser.add_argument("--home", type=Path, help="folder for keys and shares")
    parser.add_argument("--name", help="name in a plan's roster")
    parser.add_argument("--port", type=int, help="TCP port; 0 for any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument(
        "--researcher", action="append", default=[], help="key of one who may open studies"
    )
    parser.add_argument("--end-with-starter", action="store_true", help="end when the starter ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
