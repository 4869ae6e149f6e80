"""A plain PySyft 0.9.5 datasite in a process of its own, exactly as PySyft ships it.

`python -m tests.hostile.plain_site --home FOLDER --port PORT --queue-port PORT`. With a queue's
port it has a job queue with one worker, so that what a queue opens is open here too; with
`--dev-mode` it is what PySyft's tutorials start.
"""

import os
import uuid
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from syft_code.operation.parent_exit import end_with_parent

NAME = "plain"
ROOT_EMAIL = "root@plain.example.org"
ROOT_PASSWORD = "a-root-password"

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    home: Annotated[Path, typer.Option(help="An empty folder, or a new one.")],
    port: Annotated[int, typer.Option(help="Where it answers, on the loopback address.")],
    queue_port: Annotated[
        int, typer.Option(help="Where its job queue listens, if it has one.")
    ] = 0,
    dev_mode: Annotated[bool, typer.Option(help="As PySyft's tutorials start it.")] = False,
) -> None:
    """Run the datasite until SIGTERM."""
    end_with_parent()
    home.mkdir(exist_ok=True)
    os.environ |= {
        "SERVER_UID": uuid.uuid4().hex,
        "SYFT_NAME": NAME,
        "SYFT_DEV_MODE": str(dev_mode).lower(),
        "DEFAULT_ROOT_EMAIL": ROOT_EMAIL,
        "DEFAULT_ROOT_PASSWORD": ROOT_PASSWORD,
        "TMPDIR": str(home),
        "SYFT_TEMP_ROOT": str(home),
    }
    if queue_port:
        os.environ |= {
            "SYFT_CREATE_PRODUCER": "true",
            "SYFT_N_CONSUMERS": "1",
            "SYFT_QUEUE_PORT": str(queue_port),
        }
    uvicorn.run(
        "syft.server.uvicorn:app_factory",
        factory=True,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    app()
