"""A month with a limit of $5: the local SageMaker's own bill keeps to it, and is what the app shows.

Why this is honest. The app's own functions and its API act, over HTTP, on the local cloud's DynamoDB, S3,
Step Functions and SageMaker. Every training, trial, evaluation, batch and endpoint is a process that really
starts, fails, is interrupted or stopped; its statuses and times are the local SageMaker's. One thing is
arranged: both sides read the time from one file, and a minute of the month takes a tenth of a second. Time
passes between the functions' calls and a little in each call, so that a busy machine makes the test slower
and changes nothing else. `month_bill` writes the bill from what SageMaker says of its jobs and what it tells
EventBridge of its endpoints, times instances, times price. It asks nothing of the app.

What the bill may be above the limit: what SageMaker bills of a job beyond its `MaxRuntimeInSeconds`, at most
two minutes of each job that was running at its limit ($0.05 here), and nothing else.

`STORYLOOM_MONTH_SEED` repeats a walk's decisions, `STORYLOOM_MONTH_WALKS` walks through more months.
"""

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from contracts import environment, s3_keys
from endpoint_manager.handler import handler as endpoint_manager
from shared.aws import clients
from shared.hosting import hosting_state
from shared.runs import lock
from shared.spending import ledger, meter
from tests.local.sagemaker import month_bill
from tests.local.sagemaker.conftest import BUCKET, Aws, until
from tests.local.sagemaker.month_app import LIMIT_USD, USD_PER_HOUR, MonthOfTheApp, MonthRun
from tests.local.sagemaker.month_clock import MonthClock, Trouble
from tests.unit.functions.conftest import Context, caller_headers, forget_clients

pytestmark = pytest.mark.cloud

WALKS = int(os.environ.get("STORYLOOM_MONTH_WALKS", "1"))
ENOUGH_USD = 0.9 * LIMIT_USD
"""A walk goes on until so much is spent: nothing can begin then, and what runs is ended by the limit."""
MOST_MINUTES = 300
MINUTE_SECONDS = 0.1
"""How long processes have to get on with a minute of the month."""
TICK_MINUTES = 5
EVERYTHING = {"train", "search", "evaluate", "start", "chat", "wake", "sleep", "died", "refused"}
OVER_SECONDS = 120
"""What SageMaker may bill of a job beyond its limit."""
_CALLERS = (
    caller_headers("anna"),
    caller_headers("ben"),
    caller_headers("key:0123456789abcdef", made_by="carla", username="program"),
)


class Walk:
    """One month."""

    def __init__(self, app: MonthOfTheApp, seed: int) -> None:
        """Begin on its second day."""
        self.app, self.seed, self.chance = app, seed, random.Random(seed)  # noqa: S311 - no secret
        self.events = month_bill.EndpointEvents(app.account)
        self.run: MonthRun | None = None
        self.batches: list[tuple[dict[str, str], str]] = []
        self.minutes = self.failed_ticks = 0
        self.happened: Counter[str] = Counter()
        self.deck: list[Callable[[], None]] = []
        self.tune = False

    def walk(self) -> None:
        """Let things happen in any order until each has happened, and most of the month's money is spent."""
        while self.minutes < MOST_MINUTES and not self._is_enough():
            if self.chance.random() < 0.25:
                self._something()
            self._minute()

    def _is_enough(self) -> bool:
        return set(self.happened) >= EVERYTHING and ledger.totals().spent_usd > ENOUGH_USD

    def rest(self) -> None:
        """Let everything end."""
        if self.run is not None:
            self.app.call(self.run.stop)
            self.run = None
        for _ in range(300):
            self._minute()
            if self.minutes % TICK_MINUTES == 0 and self._rests():
                return
        raise AssertionError(
            f"It does not come to rest: {ledger.open_reservations()}, {hosting_state.state()}"
        )

    def _rests(self) -> bool:
        client = self.app.account.client("sagemaker")
        endpoints = client.list_endpoints(NameContains=environment.common().name)["Endpoints"]
        return not ledger.open_reservations() and not endpoints and not meter.read_meter().lease

    def _minute(self) -> None:
        self.app.time.pass_by(60)
        self.minutes += 1
        time.sleep(MINUTE_SECONDS)
        self._await_sagemaker()
        if self.minutes % TICK_MINUTES == 0:
            self._tick()
        self._take_up_run()
        if self.run is not None:
            self._do(self.run.stage, self.run.step)
            if self.run.stage == "end":
                self.run = None

    def _tick(self) -> None:
        # The promise holds as long as one tick in three succeeds.
        trouble = self._trouble() if self.failed_ticks < 2 else None
        well = self._do("tick", lambda: endpoint_manager({"action": "tick"}, Context()), trouble)
        self.failed_ticks = 0 if well else self.failed_ticks + 1

    def _await_sagemaker(self) -> None:
        """Let no more time pass while this machine is too slow for SageMaker's limits."""
        now, name = self.app.time.now(), environment.common().name
        until(
            lambda: {"overdue": month_bill.overdue(self.app.account, name, now)},
            lambda look: not look["overdue"],
        )

    def _trouble(self) -> Trouble | None:
        if self.chance.random() < 0.6:
            return None
        return Trouble(
            self.chance.randrange(14), self.chance.choice(["dies before", "dies after", "is refused"])
        )

    def _do(self, what: str, function: Callable[[], Any], trouble: Trouble | None = None) -> bool:
        well = self.app.call(function, trouble)
        self.happened[what] += 1
        if not well:
            self.happened["died"] += 1
        return well

    def _something(self) -> None:
        if not self.deck:
            self.deck = self._shuffled_deck()
        self.deck.pop()()

    def _shuffled_deck(self) -> list[Callable[[], None]]:
        deck = [self._chat, self._chat, self._wake, self._sleep, self._run, self._run]
        if set(self.happened) >= EVERYTHING:
            # Whoever chats until the month's money is used up has the limit put the model to sleep.
            deck = [self._run, self._batch, *[self._chat] * 8]
        elif not self._missing_runs():
            # Not before: what batches reserve would leave no money for a run of each kind.
            deck += [self._batch, self._stop_batch, self.chance.choice([self._stop_run, self._batch])]
        self.chance.shuffle(deck)
        return deck

    def _missing_runs(self) -> list[str]:
        return [kind for kind in ("search", "train") if kind not in self.happened]

    def _asks(
        self, what: str, who: dict[str, str], path: str, trouble: Trouble | None, **body: Any
    ) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []
        self._do(what, lambda: answers.append(self.app.ask(who, path, **body)), trouble)
        answer = answers[0] if answers else {"status_code": 0}
        if answer["status_code"] == 402:
            self.happened["refused"] += 1
        return answer

    def _chat(self) -> None:
        said = [{"role": "user", "content": "Hello"}]
        self._asks(
            "chat", self._anybody(), "v1/chat/completions", self._trouble(), messages=said, max_tokens=1
        )

    def _wake(self) -> None:
        self._asks("wake", self._anybody(), "wake", self._trouble())

    def _sleep(self) -> None:
        self._do("sleep", lambda: endpoint_manager({"action": "sleep"}, Context()), self._trouble())

    def _run(self) -> None:
        if self.run is not None:
            self.deck.insert(0, self._run)
            return
        missing = self._missing_runs()
        self.tune = self.chance.choice(missing or ["search", "train"]) == "search"
        # The first of both kinds are not interrupted before they begin.
        self._asks("run", _CALLERS[0], "runs", None if missing else self._trouble())

    def _take_up_run(self) -> None:
        """Have a run that was started go on, whatever became of who started it."""
        held = lock.holder()
        if self.run is None and held is not None:
            self.run = MonthRun(self.app, held.run_id, self.chance, tune=self.tune)

    def _stop_run(self) -> None:
        if self.run is not None:
            self._do("stop", self.run.stop)
            self.run = None

    def _batch(self) -> None:
        who, name = self._anybody(), "prompts.jsonl"
        content = b"\n".join(b"Once there was number %d" % number for number in range(3))
        tokens = self.chance.choice([200, 800, 3000])
        made = self._asks("batch", who, "batches", None, name=name, size=len(content), max_tokens=tokens)
        if made["status_code"] != 201:
            return
        batch_id = made["batch"]["batch_id"]
        clients.s3().put_object(Bucket=BUCKET, Key=s3_keys.prompts(batch_id), Body=content)
        self._asks("check", who, f"batches/{batch_id}/check", None)
        self._asks("start", who, f"batches/{batch_id}/start", self._trouble())
        self.batches.append((who, batch_id))

    def _stop_batch(self) -> None:
        if self.batches:
            who, batch_id = self.chance.choice(self.batches)
            self._asks("stop", who, f"batches/{batch_id}/stop", self._trouble())

    def _anybody(self) -> dict[str, str]:
        return self.chance.choice(_CALLERS)


@pytest.fixture
def app(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[MonthOfTheApp]:
    """Return the app in a month of its own."""
    month = MonthClock(aws.clock, datetime(2031, 3, 2, 9, tzinfo=UTC))
    try:
        yield MonthOfTheApp(aws, month, monkeypatch)
    finally:
        aws.clock.unlink()
        monkeypatch.undo()
        forget_clients()


@pytest.mark.parametrize("number", range(WALKS))
def test_sagemakers_bill_keeps_to_the_limit_and_is_what_is_shown(app: MonthOfTheApp, number: int) -> None:
    seed = int(os.environ.get("STORYLOOM_MONTH_SEED", secrets.randbelow(10**6))) + number
    walk = Walk(app, seed)
    print(f"STORYLOOM_MONTH_SEED={seed}")
    walk.walk()
    walk.rest()
    name = environment.common().name
    lines = [
        *month_bill.of_jobs(app.account, name),
        *month_bill.of_endpoint(app.account, walk.events.so_far()),
    ]
    for line in lines:
        print(f"{_usd(line.instance, line.seconds):8.4f} {line.instance} {line.seconds:7.1f} s {line.what}")
    bill = sum(_usd(line.instance, line.seconds) for line in lines)
    over = sum(_usd(line.instance, line.over_seconds) for line in lines)
    shown = app.see("costs")
    for entry in ledger.month().entries:
        print(entry)
    print(f"{walk.minutes} minutes, {dict(walk.happened)}")
    print(f"bill {bill:.4f}, beyond limits of jobs {over:.4f}, shown {shown['spent_usd']:.4f}")
    assert set(walk.happened) >= EVERYTHING
    assert all(line.over_seconds <= OVER_SECONDS for line in lines)
    assert bill <= LIMIT_USD + over
    assert shown["spent_usd"] == pytest.approx(bill, rel=0.01)
    assert shown["reserved_usd"] == 0


def _usd(instance: str, seconds: float) -> float:
    return USD_PER_HOUR[instance] * seconds / 3600
