"""A real browser for tests, Debian's headless Chromium, and checks of every page that it displays.

A page from `Viewer.open` collects faults that a test doesn't look for: errors and warnings on its console, exceptions
in scripts, requests to other hosts, violations of the content security policy. The fixture `viewer` asserts at the end
of each test that there were none.
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

#: Without the last five Chromium sends requests to Google's hosts, which a test machine may not be able to reach.
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Hosts that a browser doesn't treat as loopback, like those of a LAN, although they are this machine.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)
#: Enough for a slow response of a loaded machine with two cores. A wait ends with an event; this ends a hang.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
#: Marks the controls of a page as disabled to Playwright until its scripts listen, so that a click or a selection waits
#: for them; without this, one right after a navigation would submit the form, or do nothing.
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
#: The types of console messages that are faults.
_FAULT_TYPES = ("error", "warning")
WIDE = (1280, 900)
NARROW = (360, 740)


def find_chromium() -> str | None:
    """Return the path of a Chromium or Chrome on this machine, or None.

    Debian's headless shell comes first: it is Playwright's default and takes half the CPU time of the full browser.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def launch_browser(path: str) -> Iterator[Browser]:
    """Launch a headless browser, and close it at the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_OPTIONS))
        yield browser
        browser.close()


@dataclass
class Viewer:
    """A user who views one server's pages in a browser."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    #: Texts that a test expects: a message that contains one of them is no fault.
    expected: list[str] = field(default_factory=list)

    def open(self, url: str, *, size: tuple[int, int] = WIDE, **settings: Any) -> Page:
        """Open a page in a new profile; `settings` are Playwright's: color_scheme, java_script_enabled, timezone_id."""
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
        """Collect the faults of a page that may load resources from the host of `url` only."""
        host = urlsplit(url).netloc
        page.on("console", lambda message: self._record(f"console: {message.text}", message.type in _FAULT_TYPES))
        page.on("pageerror", lambda error: self._record(f"script: {error}", True))
        page.on(
            "request",
            lambda request: self._record(
                f"request to another host: {request.url}", urlsplit(request.url).netloc not in ("", host)
            ),
        )

    def _record(self, text: str, is_fault: bool) -> None:
        if is_fault and not any(each in text for each in self.expected):
            self.faults.append(text)

    def close(self) -> None:
        """Close every page."""
        for context in self.contexts:
            context.close()


def assert_accessible(page: Page) -> None:
    """Assert that axe-core finds nothing serious or critical on a page in its current state, including contrast."""
    # Without this axe-core also describes each node that passes, which doubles its time.
    only_violations = {"resultTypes": ["violations"]}
    violations = Axe().run(page, options=only_violations).response["violations"]
    serious = [
        (each["id"], each["help"], [node["html"][:150] for node in each["nodes"][:3]])
        for each in violations
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
    with launch_browser(str(path)) as session_browser:
        yield session_browser


@pytest.fixture
def viewer(browser: Browser, serve: Callable[..., Server]) -> Iterator[Viewer]:
    """A user with a browser; at the end of the test no page may have had a fault.

    It depends on `serve` so that pages are closed before the servers that they poll.
    """
    new_viewer = Viewer(browser)
    yield new_viewer
    new_viewer.close()
    assert not new_viewer.faults
