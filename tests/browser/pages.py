"""The page as a person meets it: what tests do and read, without knowing how it is built."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from playwright.sync_api import Locator, Page, expect

_WATCH = """
article => {
  const seen = window.storyloomSeen = [];
  const look = () => {
    const text = document.querySelector(article)?.innerText ?? "";
    if (text !== "" && text !== seen.at(-1)) seen.push(text);
  };
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}
"""


class SignInPage:
    """The sign-in."""

    def __init__(self, page: Page) -> None:
        """Work on a tab that shows, or will show, the sign-in."""
        self.page = page

    def open(self, url: str) -> "SignInPage":
        """Go to the page's address."""
        self.page.goto(url)
        expect(self.page.get_by_label("E-mail")).to_be_visible()
        return self

    def sign_in(self, email: str, password: str) -> None:
        """Fill in and send the form; the caller checks the result."""
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def request_code(self, email: str) -> None:
        """Request a code for a forgotten password."""
        self.page.get_by_role("button", name="I forgot my password").click()
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_role("button", name="Send me a code").click()

    def choose_password(self, password: str, again: str | None = None) -> None:
        """Set a new password, at the first sign-in or with a code."""
        self.page.get_by_label("New password", exact=True).fill(password)
        self.page.get_by_label("Repeat the new password").fill(password if again is None else again)
        self.page.get_by_role("button", name="Save and sign in").click()

    def problem(self) -> Locator:
        """Return the message about what went wrong."""
        return self.page.get_by_role("alert")


class ChatPage:
    """The conversation."""

    def __init__(self, page: Page) -> None:
        """Work on a tab where somebody is signed in."""
        self.page = page

    def open(self) -> "ChatPage":
        """Show the chat and wait until a prompt can be written."""
        self.page.get_by_role("link", name="Chat", exact=True).click()
        expect(self.prompt()).to_be_visible()
        return self

    def prompt(self) -> Locator:
        """Return the field for the prompt."""
        return self.page.get_by_label("Your prompt")

    def choose(self, who: str) -> None:
        """Choose who answers: `My storyteller`, `Base model` or `Side by side`."""
        self.page.get_by_role("radio", name=who).check(force=True)

    def choose_length(self, length: str) -> None:
        """Choose how much to write: `A few lines`, `About a page` or `Long`."""
        self.page.get_by_label("Length of the answer").select_option(label=length)

    def send(self, prompt: str) -> None:
        """Write a prompt and send it."""
        self.prompt().fill(prompt)
        self.page.get_by_role("button", name="Send").click()

    def stop(self) -> None:
        """Stop the answer being written."""
        self.page.get_by_role("button", name="Stop").click()

    def answer(self, model: str = "storyloom") -> Locator:
        """Return the newest answer of `storyloom` or `base`; `data-state` is its state."""
        return self.page.locator(f'article[data-model="{model}"]').last

    def answer_prose(self, model: str = "storyloom") -> Locator:
        """Return the text of the newest answer, without heading and buttons."""
        return self.answer(model).locator("[data-part=prose]")

    def answer_text(self, model: str = "storyloom") -> str:
        """Return the text of the newest answer."""
        return self.answer_prose(model).inner_text()

    def expect_state(self, state: str, model: str = "storyloom", timeout_ms: float = 5_000) -> None:
        """Wait for the newest answer to be `streaming`, `done`, `cut`, `stopped`, `waking` or `failed`."""
        expect(self.answer(model)).to_have_attribute("data-state", state, timeout=timeout_ms)

    def watch(self, model: str = "storyloom") -> Callable[[], list[str]]:
        """Record each distinct text of the first answer of `model`; returns a function that reads the record.

        Call it before `send`, in a conversation without answers.
        """
        self.page.evaluate(_WATCH, f'article[data-model="{model}"] [data-part=prose]')

        def seen() -> list[str]:
            texts: list[str] = self.page.evaluate("() => window.storyloomSeen")
            return texts

        return seen


class _View:
    """A view that has a link in the navigation and a heading of the same name."""

    name: str

    def __init__(self, page: Page) -> None:
        """Work on a tab where somebody is signed in."""
        self.page = page

    def open(self) -> Self:
        """Show it."""
        self.page.get_by_role("link", name=self.name, exact=True).click()
        expect(self.page.get_by_role("heading", name=self.name, level=1)).to_be_visible()
        return self


class StoriesPage(_View):
    """The list of stories and the way to add some."""

    name = "Stories"

    def choose_files(self, files: list[Path]) -> None:
        """Choose files in the file dialog."""
        self.page.get_by_label("Story files").set_input_files(files)

    def drop_files(self, files: dict[str, str]) -> None:
        """Drop files, given as name and text, onto the page as a mouse would."""
        transfer: Any = self.page.evaluate_handle(
            """files => {
              const transfer = new DataTransfer();
              for (const [name, text] of Object.entries(files)) transfer.items.add(new File([text], name));
              return transfer;
            }""",
            files,
        )
        self.page.get_by_role("group", name="Add stories").dispatch_event("drop", {"dataTransfer": transfer})

    def uploads(self) -> Locator:
        """Return the list of files being sent."""
        return self.page.get_by_role("region", name="Uploads")

    def stories(self) -> Locator:
        """Return one row for each story in the bucket."""
        return self.page.locator("main table tbody tr")


class RunsPage(_View):
    """The list of runs and the view of one."""

    name = "Runs"

    def rows(self) -> Locator:
        """Return one link for each run, newest first."""
        return self.page.get_by_role("list", name="Runs").get_by_role("link")

    def open_run(self, index: int = 0) -> None:
        """Open the run at that place of the list."""
        self.rows().nth(index).click()
        expect(self.page.get_by_role("heading", name="Steps")).to_be_visible()

    def step_states(self) -> dict[str, str]:
        """Return the state of each step by its name.

        `waiting`, `running`, `done`, `failed`, `skipped` (not needed) or `unreached` (after a failure).
        """
        return {
            str(step.get_attribute("data-step")): str(step.get_attribute("data-state"))
            for step in self.page.locator("[data-step]").all()
        }

    def badge(self) -> Locator:
        """Return the open run's badge."""
        return self.page.locator("main [data-status]")

    def approval(self) -> Locator:
        """Return the question whether the open run may train."""
        return self.page.get_by_role("region", name="Approve the training?")


class Question:
    """The dialog that asks before something that is hard to undo."""

    def __init__(self, page: Page) -> None:
        """Work on a tab that shows, or will show, a question."""
        self.box = page.get_by_role("dialog").and_(page.locator("dialog"))

    def answer(self, words: str) -> None:
        """Press one of its buttons."""
        self.box.get_by_role("button", name=words, exact=True).click()


class HostingPanel:
    """The panel behind the state of the storyteller in the header."""

    def __init__(self, page: Page) -> None:
        """Work on a tab where somebody is signed in."""
        self.page = page
        self.box = page.locator("#hosting-panel")

    def open(self) -> "HostingPanel":
        """Show it."""
        self.page.locator("[popovertarget=hosting-panel]").click()
        expect(self.box.get_by_role("button", name="Sign out")).to_be_visible()
        return self

    def button(self, words: str) -> Locator:
        """Return one of its buttons."""
        return self.box.get_by_role("button", name=words)


class CostsPage:
    """What a month costs."""

    def __init__(self, page: Page) -> None:
        """Work on a tab where somebody is signed in."""
        self.page = page

    def open(self) -> "CostsPage":
        """Show it, by the link in the panel."""
        HostingPanel(self.page).open().box.get_by_role("link", name="Costs").click()
        expect(self.page.get_by_role("heading", name="Costs", level=1)).to_be_visible()
        return self

    def plot(self) -> Locator:
        """Return the chart."""
        return self.page.get_by_role("img", name="The month's costs by day")


class KeysPage:
    """The API keys."""

    def __init__(self, page: Page) -> None:
        """Work on a tab where somebody is signed in."""
        self.page = page

    def open(self) -> "KeysPage":
        """Show it, by the link in the panel."""
        HostingPanel(self.page).open().box.get_by_role("link", name="API keys").click()
        expect(self.page.get_by_role("heading", name="API keys", level=1)).to_be_visible()
        return self

    def name(self) -> Locator:
        """Return the field for the name of a new key."""
        return self.page.get_by_label("Name, such as the program that will use it")

    def create(self, name: str) -> None:
        """Create a key with the choices as they stand in the form."""
        self.name().fill(name)
        self.page.get_by_role("button", name="Create the key").click()

    def created(self) -> Locator:
        """Return the card of a new key."""
        return self.page.locator("section[aria-labelledby=created-key]")

    def revoke(self, name: str) -> None:
        """Press *Revoke*; the page then asks."""
        self.page.get_by_role("button", name=f"Revoke {name}").click()


class PeoplePage:
    """Who may sign in."""

    def __init__(self, page: Page) -> None:
        """Work on a tab where an owner is signed in."""
        self.page = page

    def open(self) -> "PeoplePage":
        """Show it, by the link in the panel."""
        HostingPanel(self.page).open().box.get_by_role("link", name="People").click()
        expect(self.page.get_by_role("heading", name="People", level=1)).to_be_visible()
        return self

    def card(self, email: str) -> Locator:
        """Return the card of a person."""
        return self.page.get_by_role("list", name="Who may sign in").locator("> li").filter(has_text=email)

    def invite(self, email: str, role: str) -> None:
        """Invite somebody."""
        form = self.page.get_by_role("form", name="Invite somebody")
        form.get_by_label("E-mail address").fill(email)
        form.get_by_label("Role").select_option(role)
        form.get_by_role("button", name="Invite").click()


class VersionsPage(_View):
    """The versions of the storyteller."""

    name = "Versions"

    def card(self, version: str) -> Locator:
        """Return the card of a version."""
        return self.page.get_by_role("region", name=version, exact=True)

    def choices(self, version: str) -> list[str]:
        """Return the labels of a version's buttons."""
        return self.card(version).get_by_role("button").all_inner_texts()

    def choose(self, version: str, label: str) -> None:
        """Press one of a version's buttons."""
        self.card(version).get_by_role("button", name=f"{label}: {version}").click()
