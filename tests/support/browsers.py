"""A real browser for tests: Debian's Chromium, headless, and what is held against every page that it shows.

A page from `Viewer.open` collects what goes wrong behind a test's back: an error or warning on its console, an
exception in a script, a request to another host, something that the content security policy refused. The fixture
`viewer` asserts at the end of each test that nothing did.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from support.servers import Server
from support.tools import unavailable

#: Without the last five Chromium asks hosts of its maker's, which no test machine has to reach.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names that are not loopback to a browser, as on a LAN, and are this machine all the same.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)
#: For an answer that a loaded machine of two cores takes its time for; a wait ends on an event, this ends a hang.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
#: The controls of a page are disabled, to Playwright, until its scripts listen: a click or a choice waits for that, and
#: one that came earlier, right behind a link, would be a form's or nobody's.
_ENABLE_WHEN_READY = """
if (document.readyState === "loading") {
  const observer = new MutationObserver(() => {
    if (!document.documentElement) return;
    observer.disconnect();
    document.documentElement.setAttribute("aria-disabled", "true");
  });
  observer.observe(document, { childList: true });
  document.addEventListener("DOMContentLoaded", () => {
    observer.disconnect();
    document.documentElement.removeAttribute("aria-disabled");
  });
}
"""
WIDE = (1280, 900)
NARROW = (360, 740)


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine; None where there is none.

    Debian's headless shell comes first: Playwright's own default, it takes half of the CPU time of the whole browser.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def launch_browser(path: str) -> Iterator[Browser]:
    """A browser without windows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        yield browser
        browser.close()


@dataclass
class Viewer:
    """Somebody with a browser who looks at one server's pages."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    #: What a test says is to be expected: a console message that holds one of these texts is no fault.
    expected: list[str] = field(default_factory=list)

    def open(self, url: str, *, size: tuple[int, int] = WIDE, **settings: Any) -> Page:
        """A page of a fresh profile; `settings` are Playwright's: color_scheme, java_script_enabled, timezone_id."""
        width, height = size
        context = self.browser.new_context(viewport={"width": width, "height": height}, **settings)
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.add_init_script(_ENABLE_WHEN_READY)
        page = context.new_page()
        self.watch(page, url)
        page.goto(url)
        return page

    def watch(self, page: Page, url: str) -> None:
        """Collect what goes wrong on a page that may load nothing but what is on the host of `url`."""
        host = urlsplit(url).netloc
        page.on("console", lambda said: self._note(f"console: {said.text}", said.type in ("error", "warning")))
        page.on("pageerror", lambda error: self._note(f"script: {error}", True))
        page.on(
            "request",
            lambda request: self._note(
                f"asked another host: {request.url}", urlsplit(request.url).netloc not in ("", host)
            ),
        )

    def _note(self, text: str, is_wrong: bool) -> None:
        if is_wrong and not any(each in text for each in self.expected):
            self.faults.append(text)

    def close(self) -> None:
        """Close every page."""
        for context in self.contexts:
            context.close()


def assert_accessible(page: Page) -> None:
    """Assert that axe-core finds nothing serious or critical on a page in its current state, including contrast."""
    # Without this axe-core also describes each node that has no fault, which takes as long again.
    only_violations = {"resultTypes": ["violations"]}
    found = Axe().run(page, options=only_violations).response["violations"]
    serious = [
        (each["id"], each["help"], [node["html"][:150] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert not serious, json.dumps(serious, indent=1)


def assert_fits(page: Page) -> None:
    """Assert that a page doesn't scroll sideways as a whole; tables and code scroll separately."""
    too_wide = page.evaluate(
        """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth ? [] :
        [...document.querySelectorAll("body *")]
          .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
          .filter((e) => !e.closest(".scroll, pre, .skip"))
          .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), too_wide


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real browser; without one the test is skipped on a user's machine, and fails in CI."""
    path = find_chromium()
    if path is None:
        unavailable("no Chromium or Chrome is installed")
    with launch_browser(str(path)) as started:
        yield started


@pytest.fixture
def viewer(browser: Browser, serve: Callable[..., Server]) -> Iterator[Viewer]:
    """Somebody with a browser; at the end nothing may have gone wrong on any page that was open.

    It stands on `serve` so that pages are closed before the servers that they keep asking.
    """
    looking = Viewer(browser)
    yield looking
    looking.close()
    assert not looking.faults
