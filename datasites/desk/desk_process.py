"""The front desk as a process: `python -m datasites.desk.desk_process --home HOME`."""

from syft_code.runtime import quiet_imports

if __name__ == "__main__":
    # Before PySyft is imported: no client of a cloud is loaded here, and `import` finds none.
    quiet_imports.stub(quiet_imports.CLOUDS | quiet_imports.NOTEBOOK)

import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Annotated

import typer

from datasites import site_condition
from datasites.desk.syft_server import build
from datasites.desk.web import connections, relay_client
from datasites.desk.web.desk_metrics import DeskMetrics
from datasites.desk.web.middleware import ResponseMiddleware
from datasites.site import Site
from syft_code.errors import ConsiliumError, Unavailable
from syft_code.operation import metrics_http
from syft_code.operation.parent_exit import end_with_parent
from syft_code.runtime import tls

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    home: Annotated[Path, typer.Option(help="The hospital's folder.")],
    end_with_starter: Annotated[bool, typer.Option(help="End when the starter ends.")] = False,
) -> None:
    """Run one hospital's front desk until SIGTERM."""
    if end_with_starter:
        end_with_parent()
    os.umask(0o077)
    site = Site(home.resolve())
    try:
        settings = site.settings()
        shown = _shown(site)
        application = build(site)
    except ConsiliumError as problem:
        sys.exit(str(problem))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    metrics = DeskMetrics(lambda: site_condition.look(site))
    application.state.refusals.on_event = metrics.on_refusal
    wrapped = ResponseMiddleware(
        application, on_answer=metrics.on_answer, speaks_tls=settings.tls == "own"
    )
    server = connections.server(wrapped, host=settings.host, port=settings.port, tls=shown)
    try:
        relay_client.start(site)
        with metrics_http.served(metrics, host=settings.metrics_host, port=settings.metrics_port):
            server.run()
    except ConsiliumError as problem:
        sys.exit(str(problem))


def _shown(site: Site) -> ssl.SSLContext | None:
    """The certificate with its key, if this front desk speaks TLS itself.

    Raises:
        Unavailable: if it can't be used.
    """
    if site.settings().tls != "own":
        return None
    try:
        return tls.server_context(site.certificate, site.tls_key)
    except (ssl.SSLError, OSError) as problem:
        raise Unavailable(
            f"A front desk must have its certificate {site.certificate} and the key of it "
            f"{site.tls_key}, and can't use them ({problem.strerror or problem}): put both there."
        ) from None


if __name__ == "__main__":
    app()
