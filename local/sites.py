"""Tells a browser that shows our own page from one that acts for another site.

A page of any site may send requests to this machine's loopback address. Three headers, which no page can
forge, say on whose behalf a browser sends one: `Host` (a foreign name that was pointed at 127.0.0.1: DNS
rebinding), `Origin` and `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/). Programs send neither of
the last two, and pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

RawHeaders = Iterable[tuple[bytes, bytes]]

_OWN = frozenset(("same-origin", "none"))
"""`none` is the user: an address typed in, a bookmark."""


@dataclass(frozen=True)
class Site:
    """The names under which one port is asked, and the pages that may ask it."""

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def on_loopback(cls, port: int, scheme: str, also: "Site | None" = None) -> "Site":
        """Describe a port of this machine's loopback address; pages of the site `also` may ask it too."""
        hosts = frozenset(f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))
        origins = frozenset(f"{scheme}://{host}" for host in hosts)
        return cls(hosts, origins | (also.origins if also else frozenset()))

    def refusal(
        self, headers: RawHeaders, *, document: bool = False, virtual_host: str | None = None
    ) -> str | None:
        """Return why a request with these headers is refused, None if it is not.

        Args:
            headers: all of them, as ASGI has them.
            document: another site may link here: the request shows a page in a tab and changes nothing.
            virtual_host: one more name, of this request only.
        """
        named = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"host"]
        if len(named) != 1 or (named[0] not in self.hosts and named[0] != virtual_host):
            known = sorted(self.hosts)
            return f"This machine's local cloud was asked as {_shown(named)}. It answers as {known[-1]} only."
        origins = _values(headers, b"origin")
        if any(origin not in self.origins for origin in origins):
            return f"A page of {_shown(origins)} may not use the local cloud of this machine."
        sites = _values(headers, b"sec-fetch-site")
        if all(site in _OWN for site in sites) or (document and _opens_a_tab(headers)):
            return None
        return "A page of another site may not use the local cloud of this machine."


class SiteGuard:
    """An ASGI application that lets another one answer what its own site asks, and links to its pages."""

    def __init__(self, application: ASGIApp, site: Site) -> None:
        self._application = application
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request with 403, a WebSocket in any case, or pass it on."""
        if scope["type"] == "websocket":
            # A browser lets a page of any site open one, and nothing here needs one.
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            document = scope["method"] in ("GET", "HEAD")
            if refused := self._site.refusal(scope["headers"], document=document):
                await PlainTextResponse(f"{refused}\n", status_code=403)(scope, receive, send)
                return
        await self._application(scope, receive, send)


class PortGuard:
    """A `SiteGuard` for whatever port of the loopback address its server listens on.

    vLLM makes its application itself and takes middleware by its class. Left alone it lets pages of every
    site read its answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._application = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request with 403, or pass it on."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        site = Site.on_loopback(scope["server"][1], "http")
        await SiteGuard(self._application, site)(scope, receive, send)


def _values(headers: RawHeaders, wanted: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for name, value in headers if name.lower() == wanted]


def _opens_a_tab(headers: RawHeaders) -> bool:
    """Whether this is a click on a link, and not a frame, an image, a script or a form that is sent."""
    return (
        _values(headers, b"sec-fetch-mode") == ["navigate"]
        and _values(headers, b"sec-fetch-dest") == ["document"]
        and not _values(headers, b"origin")
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names) or "nobody"
