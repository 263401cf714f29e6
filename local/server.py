"""The process that is AWS: MiniStack with Storyloom's plug-in, over TLS, with IAM enforced.

``python -m local.server``; everything it needs comes from `local.environment.server_environment`.
"""

import asyncio
import os
import signal
import ssl
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local import plugin
from local.supervisor import stop_with_parent


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    stop_with_parent()
    # MiniStack reads its settings from the environment while it is imported.
    from ministack import app as ministack_app  # noqa: PLC0415

    plugin.install()
    asyncio.run(_serve(ministack_app.app))


async def _serve(application: object) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    for signum in (signal.SIGTERM, signal.SIGINT):
        # Nothing is kept, so there is nothing to finish: not even the clients' idle connections.
        loop.add_signal_handler(signum, os._exit, 0)
    await serve(application, _configuration())  # type: ignore[arg-type]


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong, but not a client that left without closing TLS: every SDK does."""
    if not isinstance(context.get("exception"), TimeoutError | ssl.SSLError):
        loop.default_exception_handler(context)


def _configuration() -> Config:
    config = Config()
    # The port that was asked for and no other: MiniStack's own start would also take 443.
    config.bind = [f"{os.environ['BIND_HOST']}:{os.environ['GATEWAY_PORT']}"]
    config.certfile = os.environ["MINISTACK_SSL_CERT"]
    config.keyfile = os.environ["MINISTACK_SSL_KEY"]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    return config


if __name__ == "__main__":
    main()
