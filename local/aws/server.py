"""Serves MiniStack with the plug-in, over TLS, with IAM enforced, behind the request gate.

``python -m local.aws.server``; everything it needs comes from `environment.server_environment`.
"""

import asyncio
import contextlib
import os
import signal
import ssl
from typing import Any

import uvicorn
import uvloop

from local.aws import plugin
from local.aws.supervisor import stop_with_parent
from local.aws.web.sites import Site


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    stop_with_parent()
    # MiniStack reads its settings from the environment while it is imported.
    from ministack import app as ministack_app  # noqa: PLC0415

    from local.aws.web.request_gate import RequestGate  # noqa: PLC0415 (it imports MiniStack)

    plugin.install()
    page = Site.on_loopback(int(os.environ["LOCAL_AWS_PAGE_PORT"]), "http")
    site = Site.on_loopback(int(os.environ["GATEWAY_PORT"]), "https", also=page)
    uvloop.run(_serve(RequestGate(ministack_app.app, site)))


async def _serve(application: Any) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Nothing is kept, so there is nothing to finish: not even the clients' idle connections.
        loop.add_signal_handler(signum, os._exit, 0)
    server = uvicorn.Server(_configuration(application))
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # ours stay
    await server.serve()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error, except that a client left without closing TLS, as every SDK does."""
    if not isinstance(context.get("exception"), TimeoutError | ssl.SSLError):
        loop.default_exception_handler(context)


def _configuration(application: Any) -> uvicorn.Config:
    """Return a configuration that takes one port; MiniStack's own start would also take 443.

    Its own server is Hypercorn, in Python throughout. This one's parser is in C: it takes half the processor
    for a piece of a stream, and a third for a request.
    """
    return uvicorn.Config(
        application,
        host=os.environ["BIND_HOST"],
        port=int(os.environ["GATEWAY_PORT"]),
        ssl_certfile=os.environ["MINISTACK_SSL_CERT"],
        ssl_keyfile=os.environ["MINISTACK_SSL_KEY"],
        http="httptools",
        ws="none",
        # MiniStack itself decides whether it trusts X-Forwarded-For.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        access_log=False,
        log_config=None,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
