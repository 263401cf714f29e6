"""An answer reaches the browser piece by piece; the function writes it to its end, whoever listens."""

import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from local.aws import processes
from tests.local.web.conftest import WebApp

pytestmark = pytest.mark.cloud


@pytest.fixture(params=["gateway", "front_door"])
def way(request: pytest.FixtureRequest, web: WebApp) -> httpx.Client:
    """Return a client of the API, straight through API Gateway or through the front door."""
    client = web.http(getattr(web, request.param), headers=web.signed_in)
    request.addfinalizer(client.close)
    return client


def _arrivals(client: httpx.Client, path: str) -> list[tuple[float, bytes]]:
    """Return each piece of the body with its seconds since the answer's head."""
    with client.stream("GET", path) as answer:
        assert answer.status_code == 200
        begun = time.monotonic()
        return [(time.monotonic() - begun, piece) for piece in answer.iter_raw()]


def test_pieces_arrive_one_by_one(way: httpx.Client) -> None:
    way.get("/api/health")  # a cold start is not what is measured
    arrivals = _arrivals(way, "/api/stream?pieces=10&pause=0.1")
    assert b"".join(piece for _, piece in arrivals) == b"".join(b"data: %d\n\n" % n for n in range(10))
    assert len(arrivals) >= 8
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(arrivals)]
    assert sorted(gaps)[len(gaps) // 2] == pytest.approx(0.1, abs=0.05)
    assert arrivals[0][0] < 0.3
    assert arrivals[-1][0] > 0.8


def test_nothing_is_compressed_or_measured_in_advance(way: httpx.Client) -> None:
    with way.stream("GET", "/api/stream?pieces=2", headers={"accept-encoding": "gzip, br"}) as answer:
        answer.read()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in answer.headers
    assert "content-length" not in answer.headers


@pytest.mark.aws_fact
def test_a_reader_who_leaves_does_not_stop_the_writer(way: httpx.Client, web: WebApp) -> None:
    name = f"left-{time.monotonic_ns()}"
    with way.stream("GET", f"/api/stream?pieces=30&pause=0.1&name={name}") as answer:
        next(answer.iter_raw())
    assert web.wait_for_log(f"stream {name} ") == f"stream {name} complete after 30"


@pytest.mark.aws_fact
def test_a_reader_who_leaves_before_the_first_byte_does_not_stop_the_writer(
    way: httpx.Client, web: WebApp
) -> None:
    way.get("/api/health")
    name = f"hasty-{time.monotonic_ns()}"
    with pytest.raises(httpx.ReadTimeout):
        way.get(f"/api/slow?seconds=2&name={name}", timeout=1.0)
    web.wait_for_log(f"slow {name} ended")


@pytest.mark.aws_fact
def test_what_nobody_reads_takes_no_memory(way: httpx.Client, web: WebApp) -> None:
    name = f"wide-{time.monotonic_ns()}"
    before = _server_megabytes(web)
    with way.stream("GET", f"/api/stream?pieces=30&pause=0.05&width=8000000&name={name}") as answer:
        next(answer.iter_raw())
    assert web.wait_for_log(f"stream {name} ") == f"stream {name} complete after 30"
    assert _server_megabytes(web) - before < 120, "240 MB have gone by"


def _server_megabytes(web: WebApp) -> float:
    """Return the memory of MiniStack and the front door."""
    cloud = processes.cloud_id(web.cloud.state)
    found = [
        *processes.running_module(cloud, "local.aws.server"),
        *processes.running_module(cloud, "local.aws.web.front_door"),
    ]
    assert len(found) == 2
    return sum(process.memory_info().rss for process in found) / 1e6


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(way: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError), way.stream("GET", "/api/break") as answer:
        answer.read()


def test_two_readers_do_not_wait_for_each_other(way: httpx.Client) -> None:
    way.get("/api/health")
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: _arrivals(way, "/api/stream?pieces=10&pause=0.2"), range(2)))
    assert time.monotonic() - begun < 3.6
    assert all(len(arrivals) >= 8 for arrivals in both)


def test_a_request_reaches_the_app_as_it_was_sent(way: httpx.Client) -> None:
    heard = way.post(
        "/api/echo/a/b%20c?x=1&x=2&y=%C3%A4", content=b"\x00\xff" * 1000, headers={"X-Own": "yes"}
    ).json()
    assert heard["path"] == "/api/echo/a/b c"
    assert heard["query"] == [["x", "1"], ["x", "2"], ["y", "ä"]]
    assert heard["headers"]["x-own"] == "yes"
    context = heard["context"]
    assert context["authorizer"]["use"] == "id"
    assert context["resourcePath"] == "/api/{proxy+}"


def test_a_forged_context_is_replaced(way: httpx.Client) -> None:
    forged = {"x-amzn-request-context": '{"authorizer":{"principalId":"somebody else"}}'}
    heard = way.get("/api/echo/context", headers=forged).json()
    assert heard["context"]["authorizer"]["principalId"] != "somebody else"


def test_the_function_acts_under_its_own_role(way: httpx.Client, web: WebApp) -> None:
    configuration = web.client("lambda").get_function_configuration(FunctionName=web.outputs["WebFunction"])
    role = configuration["Role"].rpartition("/")[2]
    assert f":assumed-role/{role}/" in way.get("/api/echo/whoami").json()["identity"]


def test_the_function_may_do_only_what_its_role_may(way: httpx.Client) -> None:
    answer = way.get("/api/forbidden").text
    assert "AccessDenied" in answer
    assert "dynamodb:ListTables" in answer


def test_what_the_app_prints_is_in_its_log(way: httpx.Client, web: WebApp) -> None:
    name = f"printed-{time.monotonic_ns()}"
    way.get(f"/api/echo/{name}")
    web.wait_for_log(f"echo says {name}")


def test_the_process_is_reused_and_replaced_by_an_update(web: WebApp) -> None:
    functions, name = web.client("lambda"), web.outputs["WebFunction"]
    with web.http(web.front_door, headers=web.signed_in) as client:
        known = {client.get("/api/echo/warm").json()["process"] for _ in range(3)}
        again = {client.get("/api/echo/warm").json()["process"] for _ in range(3)}
        assert known & again
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        functions.update_function_configuration(
            FunctionName=name, Environment={"Variables": {**variables, "VERSION_OF_TEST": "two"}}
        )
        after = client.get("/api/echo/warm").json()
        assert after["version"] == "two"
        assert after["process"] not in known | again


def test_a_function_that_takes_too_long_is_ended_and_the_log_says_so(web: WebApp) -> None:
    with web.http(web.front_door, headers=web.signed_in) as client:
        assert client.get("/api/slow?seconds=60").status_code == 502
        assert client.get("/api/health").status_code == 200
    assert "8.00 seconds" in web.wait_for_log("Task timed out")


def test_an_integration_in_one_piece_works_too(web: WebApp) -> None:
    with web.http(web.gateway) as client:
        answer = client.get("/whole/thing")
    assert (answer.status_code, answer.json()["what"]) == (200, "thing")


def test_api_gateway_needs_the_functions_permission(web: WebApp) -> None:
    functions, name = web.client("lambda"), web.outputs["WebFunction"]
    policy = functions.get_policy(FunctionName=name)["Policy"]
    statements = [
        statement
        for statement in json.loads(policy)["Statement"]
        if "/GET/whole/" in str(statement["Condition"])
        and "test-invoke-stage" not in str(statement["Condition"])
    ]
    assert len(statements) == 1
    source = statements[0]["Condition"]["ArnLike"]["AWS:SourceArn"]
    functions.remove_permission(FunctionName=name, StatementId=statements[0]["Sid"])
    try:
        with web.http(web.gateway) as client:
            answer = client.get("/whole/thing")
        assert (answer.status_code, answer.json()) == (500, {"message": "Internal server error"})
    finally:
        functions.add_permission(
            FunctionName=name,
            StatementId="back",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=source,
        )
    with web.http(web.gateway) as client:
        assert client.get("/whole/thing").status_code == 200
