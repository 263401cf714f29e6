"""Watching a run: its steps, its learning curve, its data, its result."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.pages import Question, RunsPage
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser


def test_the_list_shows_how_each_run_went(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.running_run(), samples.succeeded_run(), samples.failed_run()]
    rows = RunsPage(signed_in).open().rows()
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_contain_text("Running")
    expect(rows.nth(1)).to_contain_text("v2 · 24 stories · perplexity 34% lower · 6 min 20 s")
    expect(rows.nth(2)).to_contain_text("AlgorithmError")


def test_an_empty_list_says_how_a_run_starts(signed_in: Page) -> None:
    RunsPage(signed_in).open()
    expect(signed_in.get_by_text("No run yet.")).to_be_visible()


def test_a_succeeded_run_shows_its_steps_and_its_perplexity(
    signed_in: Page, storyloom: StoryloomServer
) -> None:
    storyloom.runs = [samples.succeeded_run()]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    expect(runs.badge()).to_have_text("Succeeded")
    steps = runs.step_states()
    assert len(steps) == 10
    assert set(steps.values()) == {"done"}
    train = signed_in.locator('[data-step="Train"]')
    expect(train).to_contain_text("3 min 21 s")
    expect(signed_in.locator('[data-step="Deploy"]')).to_contain_text("26 s")
    expect(signed_in.get_by_text("its perplexity is 34% lower")).to_be_visible()


def test_the_learning_curve_can_be_read_off(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.succeeded_run()]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    chart = signed_in.get_by_role("img", name="Learning curve")
    expect(chart.locator("[data-series=train_loss] path")).to_have_attribute("d", path_through(60))
    expect(chart.locator("[data-series=validation_loss] circle")).to_have_count(6)
    chart.focus()
    chart.press("ArrowLeft")
    expect(
        signed_in.get_by_text("Step 120: 2.38 on training stories, 2.64 on validation stories")
    ).to_be_visible()
    chart.press("ArrowLeft")
    expect(signed_in.get_by_text("Step 118:")).to_be_visible()


def test_an_active_run_is_updated(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.running_run()]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    assert runs.step_states()["Train"] == "running"
    assert runs.step_states()["Evaluate"] == "waiting"
    expect(signed_in.get_by_text("Step 44 of 120")).to_be_visible()
    run = samples.running_run()
    storyloom.runs = [
        {
            **run,
            "progress": {"step": 90, "of": 120, "seconds": 150, "seconds_left": 50},
            "metrics": samples.metrics()[:45],
        }
    ]
    expect(signed_in.get_by_text("Step 90 of 120")).to_be_visible(timeout=10_000)
    storyloom.runs = [{**samples.succeeded_run(), "run_id": run["run_id"]}]
    expect(runs.badge()).to_have_text("Succeeded", timeout=10_000)


def test_a_search_shows_what_each_trial_tried(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.searching_run()]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    assert runs.step_states()["Train"] == "running"
    expect(signed_in.get_by_text("trial 3 of at most 6")).to_be_visible()
    expect(signed_in.get_by_text("have cost about $0.42 so far")).to_be_visible()
    trials = signed_in.get_by_role("region", name="Trials").get_by_role("row")
    expect(trials).to_have_count(4)
    shown = [trials.nth(place).get_by_role("cell").all_inner_texts() for place in range(1, 4)]
    assert shown == [
        ["16", "0.00042", "up to 3", "2.500", "5 min 1 s", "best so far"],
        ["8", "0.00042", "up to 3", "3.125", "5 min 1 s", "stopped early"],
        ["32", "0.00042", "up to 3", "", "", "Step 44 of 120, about 2 min 8 s left"],
    ]


@pytest.mark.parametrize(
    ("name", "field"), [("The whole report", "report_url"), ("The whole evaluation", "evaluation_url")]
)
def test_report_and_evaluation_open_in_a_new_tab(
    signed_in: Page, storyloom: StoryloomServer, name: str, field: str
) -> None:
    run = samples.succeeded_run()
    storyloom.runs = [run]
    RunsPage(signed_in).open().open_run()
    link = signed_in.get_by_role("link", name=name)
    expect(link).to_have_attribute("href", run[field])
    with signed_in.context.expect_page() as opened:
        link.click()
    assert opened.value.evaluate("window.opener") is None


@pytest.mark.parametrize(("button", "answer"), [("Approve", "approve"), ("Decline", "decline")])
def test_a_waiting_run_is_approved_or_declined(
    signed_in: Page, storyloom: StoryloomServer, button: str, answer: str
) -> None:
    run = samples.waiting_run()
    storyloom.runs = [run]
    runs = RunsPage(signed_in).open()
    expect(runs.rows().nth(0)).to_contain_text("Waiting for approval")
    runs.open_run()
    assert runs.step_states()["AwaitApproval"] == "running"
    assert runs.step_states()["StageBaseModel"] == "waiting"
    question = runs.approval()
    expect(question).to_contain_text("That is enough to learn a voice from.")
    expect(question).to_contain_text("about 3 min 12 s and cost about $0.06 (prices of 2026-09)")
    expect(question).to_contain_text("Nothing is spent on a GPU before you approve.")
    expect(question).to_contain_text("Oct 7, 2026")
    signed_in.get_by_role("button", name=button).click()
    expect(question).to_have_count(0)
    assert storyloom.answers_given == [(run["run_id"], answer)]
    expect(runs.badge()).to_have_text("Running")


def test_an_answer_that_comes_too_late_is_refused(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.waiting_run()]
    message = "Run 1 has already been declined."
    storyloom.answer_refusal = {"type": "already_answered", "message": message, "cure": "Look at the run."}
    RunsPage(signed_in).open().open_run()
    signed_in.get_by_role("button", name="Approve").click()
    expect(signed_in.get_by_role("alert")).to_contain_text(message)
    assert storyloom.answers_given == []


def test_starting_a_run_asks_first(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.running_run()]
    RunsPage(signed_in).open()
    signed_in.get_by_role("button", name="Start a run now").click()
    question = Question(signed_in)
    expect(question.box).to_contain_text("the machine that trains is billed")
    expect(question.box).to_contain_text("A run is in progress. Another starts when it finishes.")
    question.answer("Not now")
    # Closed, and removed by the page.
    expect(signed_in.locator("dialog")).to_have_count(0)
    assert storyloom.starts == 0
    signed_in.get_by_role("button", name="Start a run now").press("Enter")
    question.answer("Start it afterwards")
    expect(signed_in.get_by_text("one more run follows it")).to_be_visible()
    assert storyloom.starts == 1
    signed_in.get_by_role("link", name="Open the run in progress").click()
    expect(signed_in.get_by_role("heading", name="Steps")).to_be_visible()


def test_stopping_a_run_asks_first(signed_in: Page, storyloom: StoryloomServer) -> None:
    run = samples.running_run()
    run["progress"]["cost_usd"] = 0.34
    storyloom.runs = [run]
    RunsPage(signed_in).open().open_run()
    stop = signed_in.get_by_role("button", name="Stop this run")
    stop.click()
    question = Question(signed_in)
    expect(question.box).to_contain_text("Its training has cost about $0.34 so far")
    expect(question.box).to_contain_text("It can be resumed")
    expect(question.box.get_by_role("button", name="Keep it running")).to_be_focused()
    signed_in.keyboard.press("Escape")
    expect(question.box).to_have_count(0)
    expect(stop).to_be_focused()
    assert storyloom.stopped == []
    stop.click()
    question.answer("Stop it")
    expect(signed_in.get_by_text(f"Run {run['run_id']} is being stopped.")).to_be_visible()
    assert storyloom.stopped == [run["run_id"]]
    failure = {"step": "Train", "error": "Stopped", "cause": "writer@example.com stopped the run."}
    storyloom.runs = [{**run, "status": "failed", "failure": failure, "progress": None}]
    expect(signed_in.get_by_text("writer@example.com stopped the run.")).to_be_visible(timeout=10_000)
    expect(stop).to_have_count(0)


def test_a_failed_run_is_resumed_where_it_failed(signed_in: Page, storyloom: StoryloomServer) -> None:
    run = {**samples.failed_run(), "can_resume": True}
    storyloom.runs = [run]
    RunsPage(signed_in).open().open_run()
    signed_in.get_by_role("button", name="Resume from where it failed").click()
    question = Question(signed_in)
    expect(question.box).to_contain_text("a finished training is not repeated")
    assert storyloom.resumed == []
    question.answer("Resume")
    expect(signed_in.get_by_text(f"Run {run['run_id']} goes on in Evaluate.")).to_be_visible()
    assert storyloom.resumed == [run["run_id"]]
    storyloom.runs = [{**run, "can_resume": False}]
    expect(signed_in.get_by_role("button", name="Resume from where it failed")).to_have_count(
        0, timeout=10_000
    )


@pytest.mark.parametrize("width", [375, 1280])
def test_training_on_unchanged_stories_asks_first(
    signed_in: Page, storyloom: StoryloomServer, width: int
) -> None:
    storyloom.runs = [samples.unchanged_run(), samples.succeeded_run()]
    signed_in.set_viewport_size({"width": width, "height": 800})
    RunsPage(signed_in).open().open_run()
    again = signed_in.get_by_role("button", name="Train again anyway")
    again.click()
    question = Question(signed_in)
    expect(question.box).to_contain_text("and cost about $0.06 (prices of")
    assert not signed_in.evaluate("document.documentElement.scrollWidth > innerWidth"), "it fits"
    question.answer("Not now")
    expect(signed_in.locator("dialog")).to_have_count(0)
    assert storyloom.starts == 0
    again.click()
    question.answer("Train again")
    expect(signed_in.get_by_text("one more run follows it")).to_be_visible()
    assert (storyloom.starts, storyloom.starts_again) == (1, 1)
    signed_in.get_by_role("link", name="All runs").click()
    RunsPage(signed_in).rows().nth(1).click()
    expect(signed_in.get_by_role("heading", name="Steps")).to_be_visible()
    expect(again).to_have_count(0)


def test_a_run_that_ended_meanwhile_is_not_stopped(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.running_run()]
    error = {"type": "has_ended", "message": "The run has ended.", "cure": "Look at how it ended."}
    storyloom.stop_refusal = (409, error)
    RunsPage(signed_in).open().open_run()
    signed_in.get_by_role("button", name="Stop this run").click()
    question = Question(signed_in)
    question.answer("Stop it")
    expect(question.box.get_by_role("alert")).to_have_text("The run has ended. Look at how it ended.")
    question.answer("Keep it running")
    expect(question.box).to_have_count(0)


def test_rejected_files_are_listed_with_reason_and_cure(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.succeeded_run()]
    RunsPage(signed_in).open().open_run()
    rejects = signed_in.get_by_role("list", name="What could not be used").get_by_role("listitem")
    expect(rejects).to_have_count(2)
    expect(rejects.nth(0)).to_contain_text("The file has pictures of pages but no text.")
    expect(rejects.nth(0)).to_contain_text("save it as text")
    expect(rejects.nth(1)).to_contain_text("notes/empty.txt")


def test_a_failed_run_shows_its_reason_and_its_log(signed_in: Page, storyloom: StoryloomServer) -> None:
    storyloom.runs = [samples.failed_run()]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    expect(signed_in.get_by_text("The GPU ran out of memory")).to_be_visible()
    log = signed_in.get_by_role("region", name="The last lines of its log")
    expect(log).to_contain_text("torch.OutOfMemoryError: CUDA out of memory.")
    assert runs.step_states()["Train"] == "failed"
    assert runs.step_states()["Evaluate"] == "unreached"


def test_a_run_that_ended_early_shows_the_reason(signed_in: Page, storyloom: StoryloomServer) -> None:
    run = samples.succeeded_run()
    message = "There are 1,200 words; a storyteller needs 5,000. Add more stories."
    outcome = {
        "status": "stopped_early",
        "message": message,
        "base_perplexity": None,
        "tuned_perplexity": None,
    }
    report = {**samples.report(), "enough": False, "verdict": message}
    states = [*run["states"][:4], run["states"][-1]]
    storyloom.runs = [
        {**run, **outcome, "version": None, "states": states, "report": report, "metrics": None}
    ]
    runs = RunsPage(signed_in).open()
    runs.open_run()
    expect(signed_in.get_by_text(message).first).to_be_visible()
    assert runs.step_states()["Train"] == "skipped"


def test_an_unknown_run_is_not_a_blank_page(signed_in: Page, storyloom: StoryloomServer) -> None:
    signed_in.goto(f"{storyloom.url}/#/runs/20200101-000000-0000")
    expect(
        signed_in.get_by_text("There is no run 20200101-000000-0000. Pick one from the list.")
    ).to_be_visible()


def path_through(points: int) -> re.Pattern[str]:
    """Return a pattern of a path through that many points."""
    return re.compile(rf"^M[^ML]+(L[^ML]+){{{points - 1}}}$")
