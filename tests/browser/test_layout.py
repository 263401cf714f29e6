"""The layout of every view, on phone and desk: nothing overlaps or is cut, and the heading is in view.

Boxes are measured, and no screenshots are compared: the page ships no font of its own, so the system's fonts
decide how letters look and lines break, and a stored picture would match only the machine that took it.
"""

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.browser.pages import ChatPage, Question, SignInPage, StoriesPage
from tests.browser.server import EMAIL, StoryloomServer
from tests.browser.views import fill, signed_in_views

pytestmark = pytest.mark.browser

PHONE = {"width": 375, "height": 812}
DESK = {"width": 1280, "height": 860}

_PROBLEMS = """
() => {
  const TOLERANCE = 2; // pixels
  const problems = [];
  const wider = document.documentElement.scrollWidth - innerWidth;
  if (wider > 0) problems.push(`the page is ${wider} pixels wider than the window`);

  const ancestors = element => {
    const found = [];
    for (let one = element; one !== null; one = one.parentElement) found.push(one);
    return found;
  };
  const isShown = element =>
    element.checkVisibility({opacityProperty: true, visibilityProperty: true}) &&
    !ancestors(element).some(one => getComputedStyle(one).clipPath !== "none");  // for screen readers only
  // What lies above the rest on purpose (header, prompt, panel, dialog) is compared only with itself.
  const layerOf = element =>
    ancestors(element).find(one =>
      ["fixed", "sticky"].includes(getComputedStyle(one).position) || one.matches("dialog")) ?? document.body;
  const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const clips = element => ["hidden", "clip"].includes(getComputedStyle(element).overflowX);

  const boxes = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode, element = text.parentElement;
    if (text.data.trim() === "" || element.closest("option, script, noscript") || !isShown(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(text);
    const name = text.data.trim().slice(0, 40);
    for (const box of range.getClientRects()) boxes.push({name, element, box, layer: layerOf(element)});
  }
  const controls = "button, input, select, textarea, progress, svg[role=img]";
  for (const element of document.querySelectorAll(controls)) {
    if (!isShown(element)) continue;
    const name = `<${element.getAttribute("aria-label") || element.name || element.tagName}>`;
    boxes.push({name, element, box: element.getBoundingClientRect(), layer: layerOf(element)});
  }

  for (const {name, element, box} of boxes) {
    const clipping = ancestors(element).find(one => scrolls(one) || clips(one));
    const limits = clipping?.getBoundingClientRect() ?? {left: 0, right: innerWidth};
    const canScroll = clipping !== undefined && scrolls(clipping);
    if (!canScroll && (box.left < limits.left - TOLERANCE || box.right > limits.right + TOLERANCE))
      problems.push(`"${name}" is cut at the side`);
    const frame = element.closest("button, [data-status]")?.getBoundingClientRect();
    const isInside = frame === undefined || (box.left >= frame.left - TOLERANCE &&
      box.right <= frame.right + TOLERANCE && box.bottom <= frame.bottom + TOLERANCE);
    if (!isInside) problems.push(`"${name}" is larger than its button or badge`);
  }

  for (const [index, one] of boxes.entries()) {
    for (const other of boxes.slice(index + 1)) {
      if (one.layer !== other.layer) continue;
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > TOLERANCE && down > TOLERANCE) problems.push(`"${one.name}" overlaps "${other.name}"`);
    }
  }
  return [...new Set(problems)];
}
"""

_IS_IN_VIEW = """
heading => {
  const {left, right, top, bottom} = heading.getBoundingClientRect();
  const shown = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
  return top >= 0 && bottom <= innerHeight && (heading.contains(shown) || shown?.contains(heading));
}
"""


def layout_problems(page: Page, heading: Locator) -> list[str]:
    """Return what is wrong with the layout of the view that is shown."""
    problems: list[str] = page.evaluate(_PROBLEMS)
    if not heading.evaluate(_IS_IN_VIEW):
        problems.append(f"the heading {heading.inner_text()!r} is out of view")
    return problems


@pytest.mark.parametrize("width", [320, PHONE["width"], 768, DESK["width"]])
def test_nothing_overlaps_nothing_is_cut_and_the_heading_is_in_view(
    signed_in: Page, storyloom: StoryloomServer, width: int
) -> None:
    signed_in.set_viewport_size({"width": width, "height": 812})
    fill(storyloom)
    signed_in.reload()
    found = {
        view: layout_problems(signed_in, show())
        for view, show in signed_in_views(signed_in, storyloom).items()
    }
    assert found == {view: [] for view in found}


@pytest.mark.parametrize("width", [320, PHONE["width"], DESK["width"]])
def test_the_sign_in_is_laid_out_well(page: Page, storyloom: StoryloomServer, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 812})
    heading = page.get_by_role("heading", level=1)
    door = SignInPage(page).open(storyloom.url)
    found = {"sign-in": layout_problems(page, heading)}
    door.sign_in(EMAIL, "wrong")
    expect(door.problem()).to_be_visible()
    found["wrong password"] = layout_problems(page, heading)
    door.request_code(EMAIL)
    expect(page.get_by_label("Code from the e-mail")).to_be_focused()
    found["code"] = layout_problems(page, heading)
    assert found == {view: [] for view in found}


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_two_answers_are_side_by_side_if_there_is_room(
    signed_in: Page, storyloom: StoryloomServer, size: dict[str, int]
) -> None:
    signed_in.set_viewport_size({"width": size["width"], "height": size["height"]})
    # Short answers would stand side by side even in a box that wraps.
    storyloom.answers.words = {"storyloom": ["The tide went out. "] * 40, "base": ["Once upon a time. "] * 20}
    chat = ChatPage(signed_in)
    chat.choose("Side by side")
    chat.send("Begin.")
    chat.expect_state("done")
    chat.expect_state("done", "base")
    storyteller, base = _box(chat.answer()), _box(chat.answer("base"))
    assert abs(storyteller["width"] - base["width"]) < 1
    if size is DESK:
        assert base["y"] == storyteller["y"]
        assert base["x"] >= storyteller["x"] + storyteller["width"]
        assert storyteller["width"] > 400, "each has the width of a column to read"
    else:
        assert base["x"] == storyteller["x"]
        assert base["y"] >= storyteller["y"] + storyteller["height"]


def test_a_phone_opens_the_welcome_at_its_heading(signed_in: Page) -> None:
    signed_in.set_viewport_size({"width": 375, "height": 560})
    signed_in.reload()
    heading = signed_in.get_by_role("heading", name="What shall we write?")
    expect(heading).to_be_visible()
    assert signed_in.evaluate("document.documentElement.scrollHeight > innerHeight"), "it has to scroll"
    assert heading.evaluate(_IS_IN_VIEW)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_a_dialog_is_in_the_middle(signed_in: Page, size: dict[str, int]) -> None:
    signed_in.set_viewport_size({"width": size["width"], "height": size["height"]})
    StoriesPage(signed_in).open()
    signed_in.get_by_role("button", name="Delete the-ferry.txt").click()
    box = _box(Question(signed_in).box)
    assert box["x"] + box["width"] / 2 == pytest.approx(size["width"] / 2, abs=1)
    assert box["y"] + box["height"] / 2 == pytest.approx(size["height"] / 2, abs=1)


def _box(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box is not None
    return box
