"""Refuse requests that a browser sends on behalf of another site.

Pages of any site can send requests to this machine's loopback address. Three headers, which no page can
forge, show on whose behalf a browser sends a request: `Host` (another name that resolves to 127.0.0.1 is DNS
rebinding), `Origin` and `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/). Programs other than
browsers send neither of the last two and are allowed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

RawHeaders = Iterable[tuple[bytes, bytes]]

_OWN = frozenset(("same-origin", "none"))
"""`none` is a request that the user started: a typed address or a bookmark."""


@dataclass(frozen=True)
class Site:
    """The hosts at which a port may be addressed, and the origins whose pages may send requests to it."""

    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def on_loopback(cls, port: int, scheme: str, also: "Site | None" = None) -> "Site":
        """Return the site of a loopback port; pages of the site `also` may send requests to it, too."""
        hosts = frozenset(f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]"))
        origins = frozenset(f"{scheme}://{host}" for host in hosts)
        return cls(hosts, origins | (also.origins if also else frozenset()))

    def refusal(
        self, headers: RawHeaders, *, document: bool = False, virtual_host: str | None = None
    ) -> str | None:
        """Return why a request with these headers is refused, or None if it is allowed.

        Args:
            headers: all headers of the request, in ASGI's form.
            document: whether links from other sites are allowed, because the request only shows a page.
            virtual_host: another allowed host for this request.
        """
        named = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"host"]
        if len(named) != 1 or (named[0] not in self.hosts and named[0] != virtual_host):
            known = sorted(self.hosts)
            return f"The request is for the host {_shown(named)}. The local cloud accepts only {known[-1]}."
        origins = _values(headers, b"origin")
        if any(origin not in self.origins for origin in origins):
            return f"A page of {_shown(origins)} may not use this machine's local cloud."
        sites = _values(headers, b"sec-fetch-site")
        if all(site in _OWN for site in sites) or (document and _opens_a_tab(headers)):
            return None
        return "A page of another site may not use this machine's local cloud."


class SiteGuard:
    """ASGI middleware that refuses requests from other sites, except links to its pages."""

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
    """A `SiteGuard` for the loopback port on which its server listens.

    vLLM creates its own application and accepts middleware as a class name. Without it, pages of every site
    could read vLLM's responses.
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
    """Return whether a link was clicked; a frame, an image, a script or a submitted form is not one."""
    return (
        _values(headers, b"sec-fetch-mode") == ["navigate"]
        and _values(headers, b"sec-fetch-dest") == ["document"]
        and not _values(headers, b"origin")
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:100]) for name in names) or "nobody"
