import io
from typing import Any

from rich.console import Console

from cli.api.client import ChatReply
from cli.journey import demo_result
from cli.run_progress import _StateLines, perplexities, run_panel, runs_table
from contracts.statuses import FINAL_RUN_STATUSES

RUN: dict[str, Any] = {
    "run_id": "20260101-000000-abcd",
    "status": "succeeded",
    "message": "v1 is live",
    "base_perplexity": 40.0,
    "tuned_perplexity": 30.0,
    "states": [
        {"name": "Begin", "status": "succeeded", "started_at": "2026-01-01T00:00:00Z", "seconds": 0.5},
        {"name": "WaitForEndpoint", "status": "succeeded", "seconds": 10.0},
        {"name": "WaitForEndpoint", "status": "succeeded", "seconds": 10.0},
        {"name": "Announce", "status": "running", "seconds": None},
    ],
    "metrics": [{"step": 20, "train_loss": 2.5, "validation_loss": None}],
}


def _printed(content: Any, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(content)
    return out.getvalue()


def test_perplexities_are_compared_in_percent() -> None:
    assert perplexities(RUN) == "40.0 → 30.0 (25% lower)"
    assert perplexities({"base_perplexity": 40.0}) == ""


def test_a_run_shows_its_states_its_loss_and_its_outcome() -> None:
    shown = _printed(run_panel(RUN))
    for part in ("20260101-000000-abcd", "Begin", "10 s", "step 20", "train loss 2.500", "v1 is live"):
        assert part in shown
    assert "validation loss" not in shown


TRAINING: dict[str, Any] = {
    **RUN,
    "status": "running",
    "metrics": [
        {
            "step": step,
            "train_loss": 3.5 - step / 20,
            "validation_loss": 3.4 - step / 40 if step % 5 == 0 else None,
        }
        for step in range(21)
    ],
    "progress": {
        "step": 20,
        "of": 60,
        "seconds": 120.0,
        "seconds_left": 240.0,
        "tokens_per_second": 1512.4,
        "cost_usd": 0.038,
    },
}


def test_a_training_shows_its_curves_and_how_long_it_will_take() -> None:
    shown = _printed(run_panel(TRAINING), width=100)
    for part in (
        "stories it learns from",
        "stories held back",
        "of 60 steps",
        "about 4 min left",
        "1,512 tokens/s",
    ):
        assert part in shown
    assert "$0.04 so far" in shown
    assert len(set(shown) & {chr(0x2800 + dots) for dots in range(1, 256)}) > 5, "lines are drawn"
    for label in ("3.50", "2.50", "20"):  # the axes span the data
        assert label in shown
    assert max(len(line) for line in shown.splitlines()) <= 100


def test_a_curve_needs_two_points_and_room() -> None:
    one = {**TRAINING, "metrics": TRAINING["metrics"][:1]}
    assert "stories held back" not in _printed(run_panel(one))
    assert "stories held back" not in _printed(run_panel(TRAINING), width=35)


def test_figures_are_printed_as_lines_if_no_curve_can_be_drawn() -> None:
    out = io.StringIO()
    _StateLines(Console(file=out, width=60))(TRAINING)
    line = out.getvalue().splitlines()[-1]
    assert line.startswith(
        "    step 20  train loss 2.500  validation loss 2.900  of 60 steps  about 4 min left"
    )


_TRIAL: dict[str, Any] = {
    "status": "succeeded",
    "best": False,
    "lora_rank": 16,
    "learning_rate": 0.00042,
    "epochs": 3,
    "seconds": 300.5,
    "validation_loss": 2.5,
    "progress": None,
}
_GOING: dict[str, Any] = {
    "status": "running",
    "seconds": 0.0,
    "validation_loss": None,
    "progress": {"step": 11, "of": 40, "seconds": 20.0},
}
SEARCHING: dict[str, Any] = {
    **RUN,
    "status": "running",
    "metrics": None,
    "search": {"of": 6, "cost_usd": 0.2003, "trials": [{**_TRIAL, "best": True}, {**_TRIAL, **_GOING}]},
}


def test_a_search_shows_each_trial_and_the_best_so_far() -> None:
    shown = _printed(run_panel(SEARCHING), width=100)
    assert "Trial 2 of at most 6" in shown
    assert "$0.20 so far at the price on demand" in shown
    (best,) = [line for line in shown.splitlines() if "★" in line]
    assert best.split() == ["★", "1", "16", "0.00042", "up", "to", "3", "2.500", "5", "min", "done"]
    assert "step 11 of 40" in shown


def test_a_log_says_when_a_trial_begins_and_ends() -> None:
    out = io.StringIO()
    lines = _StateLines(Console(file=out, width=60))
    lines(SEARCHING)
    lines(SEARCHING)
    assert out.getvalue().splitlines()[-3:] == [
        "    trial 1 of at most 6: rank 16, learning rate 0.00042, up to 3 epochs",
        "    trial 1: done, validation loss 2.500",
        "    trial 2 of at most 6: rank 16, learning rate 0.00042, up to 3 epochs",
    ]


def test_a_failed_run_shows_where_why_and_the_end_of_the_log() -> None:
    failure = {
        "step": "Train",
        "error": "States.TaskFailed",
        "cause": "out of memory",
        "log_tail": "last words",
    }
    shown = _printed(run_panel({**RUN, "status": "failed", "failure": failure}))
    for part in ("Train", "out of memory", "last words"):
        assert part in shown


def test_a_run_that_waits_says_how_to_answer() -> None:
    waiting = {
        **RUN,
        "status": "waiting",
        "message": "Waiting for your approval. Training would cost about $0.46.",
        "waits_until": "2026-01-08T00:00:00.000Z",
    }
    for shown in (_printed(run_panel(waiting)), _lines(waiting)):
        assert "about $0.46" in shown
        assert "before 2026-01-08 00:00 UTC" in shown
        assert "storyloom approve 20260101-000000-abcd" in shown
        assert "storyloom decline 20260101-000000-abcd" in shown
    assert "approve" not in _printed(run_panel(RUN))
    assert "waiting" not in FINAL_RUN_STATUSES


def _lines(run: dict[str, Any]) -> str:
    out = io.StringIO()
    say = _StateLines(Console(file=out, width=60))
    say(run)
    say(run)
    assert out.getvalue().count("approve") == 1, "said once, however long it waits"
    return out.getvalue()


def test_the_list_has_a_line_a_run() -> None:
    shown = _printed(runs_table([RUN, {"run_id": "other", "status": "running", "step": "Train"}]))
    assert "25% lower" in shown
    assert "other" in shown


def test_the_demo_adds_up_the_visits_of_a_state() -> None:
    answer = ChatReply("Sit in.", 0.51234, 2.0, "v1", "abcd")
    result = demo_result(RUN, answer, 100.04)
    assert result["steps"] == {"Begin": 0.5, "WaitForEndpoint": 20.0, "Announce": 0.0}
    assert result["reply"] == "Sit in."
    assert result["first_token_s"] == 0.512
