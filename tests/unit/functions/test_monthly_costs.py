"""`GET /api/costs`: a month by kind and day, and the prices it is computed from."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chat_api.app import app
from shared import clock
from shared.spending import ledger, prices
from tests.unit.functions.conftest import DeployedResources, caller_headers


@pytest.fixture
def client(resources: DeployedResources) -> TestClient:
    return TestClient(app)


def _entry(kind: str, day: str, spent: float, reserved: float = 0.0, instance: str = "ml.g6.xlarge") -> Any:
    return SimpleNamespace(
        kind=kind, id="x", instance=instance, day=day, spent_usd=spent, reserved_usd=reserved
    )


def _month(monkeypatch: pytest.MonkeyPatch, *entries: Any, limit: float | None = 20.0) -> list[str]:
    """Have the ledger hold some entries; returns the months that are asked for."""
    asked: list[str] = []

    def month(name: str) -> Any:
        asked.append(name)
        spent = sum(one.spent_usd for one in entries)
        reserved = sum(one.reserved_usd for one in entries)
        left = None if limit is None else limit - spent - reserved
        return SimpleNamespace(
            limit_usd=limit, spent_usd=spent, reserved_usd=reserved, left_usd=left, entries=list(entries)
        )

    monkeypatch.setattr(ledger, "month", month)
    return asked


def _costs(client: TestClient, query: str = "", scopes: str = "read") -> Any:
    return client.get(f"/api/costs{query}", headers=caller_headers(scopes=scopes))


def test_the_parts_add_up_to_the_total(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _month(
        monkeypatch,
        _entry("training", "2026-11-03", 1.5),
        _entry("endpoint", "2026-11-03", 0.25),
        _entry("endpoint", "2026-11-02", 0.75, reserved=0.5),
        _entry("search", "2026-11-30", 0.0, reserved=4.0),
    )
    told = _costs(client).json()
    assert (told["spent_usd"], told["reserved_usd"], told["limit_usd"], told["left_usd"]) == (
        2.5,
        4.5,
        20,
        13,
    )
    assert told["by_kind"] == [
        {"kind": "training", "spent_usd": 1.5, "reserved_usd": 0},
        {"kind": "search", "spent_usd": 0, "reserved_usd": 4},
        {"kind": "endpoint", "spent_usd": 1, "reserved_usd": 0.5},
    ]
    assert told["by_day"] == [
        {"day": "2026-11-02", "spent_usd": {"endpoint": 0.75}},
        {"day": "2026-11-03", "spent_usd": {"training": 1.5, "endpoint": 0.25}},
    ]
    for parts in (told["by_kind"], [{"spent_usd": sum(day["spent_usd"].values())} for day in told["by_day"]]):
        assert sum(part["spent_usd"] for part in parts) == told["spent_usd"]


def test_the_default_is_this_month(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _month(monkeypatch)
    assert _costs(client).json()["month"] == clock.day()[:7]
    assert _costs(client, "?month=2026-10").json()["month"] == "2026-10"
    assert asked == [clock.day()[:7], "2026-10"]


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "1999-01", "", "2026-10-01", "%0a", "../x"])
def test_an_invalid_month_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch, month: str) -> None:
    asked = _month(monkeypatch)
    assert _costs(client, f"?month={month}").status_code == 422
    assert not asked


def test_without_a_limit_left_is_null(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _month(monkeypatch, limit=None)
    told = _costs(client).json()
    assert told["limit_usd"] is told["left_usd"] is None
    assert told["by_kind"] == told["by_day"] == []


def test_prices_are_listed_with_their_dates(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORYLOOM_INSTANCE_PRICES", "{}")
    # A machine of before the settings changed has a price too, or is named as one without.
    _month(
        monkeypatch,
        _entry("batch", "2026-11-03", 1.0, instance="ml.g6e.xlarge"),
        _entry("training", "2026-11-03", 1.0, instance="ml.p99.huge"),
    )
    prices.record_failure("ml.g5.xlarge: no answer")
    told = _costs(client).json()
    listed = {(one["kind"], one["instance"]): one for one in told["prices"]}
    assert set(listed) == {
        ("training", "ml.g6.xlarge"),
        ("hosting", "ml.g6.xlarge"),
        ("hosting", "ml.g5.xlarge"),
        ("transform", "ml.g6e.xlarge"),
    }
    assert listed["hosting", "ml.g6.xlarge"] == {
        "kind": "hosting",
        "instance": "ml.g6.xlarge",
        "usd_per_hour": 1.127,
        "date": "2026-09-27",
        "source": "AWS's price list of us-east-1",
    }
    assert told["unpriced"] == [{"kind": "training", "instance": "ml.p99.huge"}]
    assert (told["prices_read_at"], told["prices_failure"]) == (None, "ml.g5.xlarge: no answer")


@pytest.mark.parametrize("scopes", ["chat", "write", "keys"])
def test_only_callers_with_the_read_scope_see_costs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, scopes: str
) -> None:
    asked = _month(monkeypatch)
    assert _costs(client, scopes=scopes).status_code == 403
    assert not asked
