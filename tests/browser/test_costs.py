"""What a month costs: the chart and its table, the limit, other months, and a month without costs."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import samples
from tests.browser.pages import CostsPage
from tests.browser.server import StoryloomServer

pytestmark = pytest.mark.browser

MONTH = "2026-09"


@pytest.fixture
def costs(signed_in: Page, storyloom: StoryloomServer) -> CostsPage:
    """Provide the view at the end of September, with three weeks of costs."""
    storyloom.costs[MONTH] = samples.costs(MONTH, samples.busy_days())
    signed_in.clock.set_fixed_time("2026-09-24T12:00:00Z")
    return CostsPage(signed_in).open()


def test_words_chart_and_tables_agree(costs: CostsPage) -> None:
    page = costs.page
    expect(page.get_by_text("$15.88 spent. Up to $2.00 more is reserved")).to_contain_text(
        "$2.12 of the limit of $20.00 is left."
    )
    # Every kind has its part of the last bar, in the colour of its name.
    last = costs.plot().locator("[data-day]").last.locator("rect")
    expect(last).to_have_count(6)
    expect(costs.plot().locator("[data-day]")).to_have_count(24)
    heights = last.evaluate_all("bars => bars.map(bar => bar.height.baseVal.value)")
    assert heights[0] / sum(heights) == pytest.approx(4.28 / 15.88, abs=0.01), "training is the lowest part"
    limit = costs.plot().locator("[data-part=limit] line").evaluate("line => line.y1.baseVal.value")
    reserved = costs.plot().locator("[data-part=reserved]").evaluate("box => box.y.baseVal.value")
    assert limit < reserved, "what is reserved stays below the limit"
    page.get_by_text("Day by day, as a table").click()
    rows = page.get_by_role("region", name="Costs day by day").get_by_role("row")
    expect(rows).to_have_count(7)
    expect(rows.last).to_contain_text(re.compile(r"Sep 21.*\$2\.72\s*\$15\.88"))
    kinds = page.get_by_role("region", name="What it was spent on")
    expect(kinds.get_by_role("row", name="total")).to_contain_text("$15.88")
    expect(page.get_by_text("monthly_limit_usd")).to_be_visible()
    prices = page.get_by_role("region", name="Prices").first
    expect(prices).to_contain_text("The price of ml.p5.4xlarge (hosting) is not known")


def test_the_keyboard_reads_off_each_day(costs: CostsPage) -> None:
    costs.plot().focus()
    readout = costs.page.locator("figure [role=status]")
    expect(readout).to_contain_text("Sep 24: nothing; $15.88 since the month began")
    for _ in range(4):
        costs.page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text("Sep 21: $2.72 (training $1.87, hosting $0.85)")


def test_other_months_can_be_chosen_and_one_may_be_empty(costs: CostsPage) -> None:
    page = costs.page
    expect(page.get_by_role("button", name="October 2026")).to_be_disabled()
    page.get_by_role("button", name="August 2026").press("Enter")
    expect(page.get_by_role("heading", name="August 2026")).to_be_visible()
    expect(page.get_by_text("Nothing was spent in this month.")).to_be_visible()
    expect(costs.plot()).to_have_count(0)
    page.get_by_role("button", name="September 2026").click()
    expect(costs.plot()).to_be_visible()
