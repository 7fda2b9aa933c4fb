"""Pictures of pages for the documents, drawn with Chromium: `python -m docs.screens` in a finished project.

The dashboard's are of the last run: `millrace ui` serves it meanwhile, on the port that its links name.
"""

import base64
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.reports.console import LAST_RUN
from pipeline.runtime import paths
from pipeline.runtime.files import read_json

FOLDER = Path("docs/pictures")
WIDTH, HEIGHT = 1100, 820
"""Pixels of the window; what is below it is not shown."""
COLOURS = 128
"""A page has few: a picture of so many is a third as large."""
PAGES = {"report": paths.RUN_REPORT, "decision": paths.DECISION_PAGE, "data": paths.VALIDATE_HTML}
DASHBOARD = {
    "candidates": ("candidates, best first", ("Sort: ",)),
    "curves": ("candidates compared", ("train", "val", "majority, ")),
    "version": ("model version", ("model_sha256",)),
}
"""Name of the picture to the link of the run, and words that are there once the page is."""
ASSISTANT = "//button[@aria-label='Close']"
"""Of the panel that the dashboard opens at the first visit."""
WAIT_SECONDS = 60.0
"""For words to appear."""
DRAW_SECONDS = 3.0
"""Charts draw themselves after their titles."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def programs() -> tuple[str, str] | None:
    """Return where Chromium and its driver are; None where one is missing."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    return (chromium, driver) if chromium and driver else None


@contextmanager
def chromium(width: int, height: int) -> Iterator[Any]:
    """Start a headless Chromium with an empty profile; yields selenium's driver.

    Args:
        width: Of the window, in pixels.
        height: The same.
    """
    from selenium import webdriver

    found = programs()
    if found is None:
        sys.exit("Chromium is not here. Expected chromium and chromedriver on PATH. Install both.")
    with tempfile.TemporaryDirectory(prefix="millrace-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = found[0]
        for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(found[1]))
        try:
            yield browser
        finally:
            browser.quit()


def shown(browser: Any, address: str, words: tuple[str, ...], click: str = "") -> list[str]:
    """Open a page and wait for words.

    Args:
        browser: See `chromium`.
        address: Of the page.
        words: To wait for.
        click: XPath of what is clicked once it is there.

    Returns:
        The words that did not come.
    """
    browser.get("about:blank")  # from one view of the dashboard to another nothing is loaded anew
    browser.get(address)
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        if click and (found := browser.find_elements("xpath", click)):
            found[0].click()
            click = ""
        text = browser.find_element("tag name", "body").text
        missing = [word for word in words if word not in text]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.5)


def draw(folder: Path, addresses: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    """Write a PNG file for the top of each page.

    Args:
        folder: Where to.
        addresses: Name of the picture to the address of the page, and words to wait for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with chromium(WIDTH, HEIGHT) as browser:
        # Headless windows have a frame of their own.
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False},
        )
        for name, (address, words) in addresses.items():
            if missing := shown(browser, address, words, ASSISTANT if words else ""):
                sys.exit(f"{address} does not show {missing}.")
            if words:
                time.sleep(DRAW_SECONDS)
            shot = io.BytesIO(base64.b64decode(browser.get_screenshot_as_base64()))
            Image.open(shot).convert("RGB").quantize(COLOURS).save(folder / f"{name}.png", optimize=True)


def main() -> None:
    """Draw the pages and the dashboard of the working directory's project."""
    draw(FOLDER, {name: (path.absolute().as_uri(), ()) for name, path in PAGES.items()})
    links = read_json(LAST_RUN)["links"]
    command = [sys.executable, "-m", "pipeline.cli", "ui", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as dashboard:
        try:
            for line in dashboard.stdout or ():
                if line.startswith("Dashboard on"):
                    break
            else:
                sys.exit("The dashboard did not start; it said why above. Nothing was drawn of it.")
            draw(FOLDER, {name: (links[link], words) for name, (link, words) in DASHBOARD.items()})
        finally:
            dashboard.terminate()
    sys.stdout.write(f"{FOLDER}\n")


if __name__ == "__main__":
    main()
