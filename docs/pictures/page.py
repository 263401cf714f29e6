"""Take the pictures of the chat page, with the words and figures of its tests' server.

PYTHONPATH=lambda python -m docs.pictures.page
"""

from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import samples
from tests.browser.chromium import CHROMIUM_FLAGS, find_chromium
from tests.browser.conftest import WEB, sign_in_as
from tests.browser.pages import ChatPage, RunsPage
from tests.browser.server import StoryloomServer

HERE = Path(__file__).parent

PROMPT = "Begin a story on the morning after a great storm."
STORYTELLER = """\
The tide went out, and took the harbour wall with it, stone by stone, as if it had only ever lent them. \
Ilse counted what was left before she put the kettle on.

“Eleven boats,” she said to nobody. Nobody said twelve.

By noon the gulls had found the roof of the chapel, and sat along it like people who have paid."""
BASE_MODEL = """\
Once upon a time there was a great storm in a small town. The storm was very strong and many houses were \
damaged. In the morning the people came out of their houses and looked around. They were happy to be alive.

They decided to rebuild the town together, and everyone learned an important lesson about friendship."""


def main(folder: Path = HERE) -> None:
    """Write the pictures of the built page into a folder."""
    server = StoryloomServer(WEB / "dist")
    server.status = samples.status()
    server.runs = [samples.succeeded_run()]
    server.answers.words = {"storyloom": [STORYTELLER], "base": [BASE_MODEL]}
    server.start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 640}, color_scheme="light")
        sign_in_as(page, server)
        chat = ChatPage(page).open()
        chat.choose("Side by side")
        chat.send(PROMPT)
        chat.expect_state("done")
        chat.expect_state("done", "base")
        page.screenshot(path=folder / "page-chat.png")
        page.set_viewport_size({"width": 900, "height": 1130})
        RunsPage(page).open().open_run()
        page.screenshot(path=folder / "page-run.png")
        browser.close()
    server.stop()


if __name__ == "__main__":
    main()
