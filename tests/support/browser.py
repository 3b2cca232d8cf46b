"""A browser for tests of pages: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_QUIET += ["--disable-component-update", "--disable-sync"]


def chromium() -> Iterator[Any]:
    """A browser, until the tests are done with it; without one they are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need the package playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("the browser tests need Chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=_QUIET)
        yield browser
        browser.close()


class Reader:
    """A page that is open, and everything it must not do."""

    def __init__(self, browser: Any, page: Path, **settings: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **{"viewport": LAPTOP, **settings})
        self.tab = self.context.new_page()
        self.file = page.as_uri()
        self.problems: list[str] = []
        self.tab.on("console", lambda message: self.problems.append(message.text) if message.type in ("error", "warning") else None)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.context.on("request", self._request)

    def _request(self, request: Any) -> None:
        beside = self.file.rsplit("/", 1)[0]
        if request.url.split("#")[0] != self.file and not request.url.startswith(
            ("data:", "blob:", f"{beside}/data/", f"{beside}/data-2/")
        ):
            self.problems.append(f"request of {request.url}")

    def open(self, address: str = "#/") -> Any:
        """Goes to an address as if from outside, and waits for its view."""
        self.tab.goto("about:blank")
        self.tab.goto(self.file + address)
        self.tab.wait_for_selector("#main[data-view]")
        return self.tab

    def text(self) -> str:
        return self.tab.inner_text("#main")
