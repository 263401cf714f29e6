"""Nobody else is `localhost` to a browser, which tries ::1 before 127.0.0.1."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import loopback
from local.aws.errors import LocalCloudError
from local.cloud import LocalCloud


def _listen_at(address: str, port: int = 0) -> socket.socket:
    try:
        return socket.create_server((address, port), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"This machine has no IPv6: {error}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(params=["::1", "::"])
def others_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port that another program has, but not at 127.0.0.1."""
    with _listen_at(request.param) as other:
        yield other.getsockname()[1]


def test_a_port_is_taken_at_both_addresses() -> None:
    with _listen_at("::1") as probe:
        port = probe.getsockname()[1]
    listening = loopback.listen(port)
    try:
        assert [one.getsockname()[:2] for one in listening] == [("::1", port), ("127.0.0.1", port)]
        for address in ("::1", "::"):
            with pytest.raises(OSError, match="in use"):
                socket.create_server((address, port), family=socket.AF_INET6)
    finally:
        for one in listening:
            one.close()


def test_a_port_that_another_program_has_at_one_of_them_is_refused(others_port: int) -> None:
    with pytest.raises(OSError, match="in use"):
        loopback.listen(others_port)
    assert _is_free(others_port), "nothing is left listening"


def test_without_ipv6_the_other_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_ADDRESSES", ((socket.AF_INET6, "2001:db8::1"), *loopback._ADDRESSES[1:]))
    (only,) = loopback.listen(0)
    assert only.getsockname()[0] == "127.0.0.1"
    only.close()


def test_a_cloud_does_not_start_beside_somebody_elses_page(others_port: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    cloud = LocalCloud(Path.cwd(), tmp_path, port=port, page_port=others_port)
    try:
        with pytest.raises(LocalCloudError, match=f"Port {others_port} of this machine is in use"):
            cloud.up()
    finally:
        cloud.down()
