"""Pictures of pages for the documents: `python -m docs.screens` in a finished project draws them, with Chromium."""

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver

from pipeline.runtime import paths

FOLDER = Path("docs/pictures")
WIDTH, HEIGHT = 1100, 820
"""Pixels of the window; what is below it is not shown."""
COLOURS = 128
"""A page has few: a picture of so many is a third as large."""
PAGES = {"report": paths.RUN_REPORT, "decision": paths.DECISION_PAGE, "data": paths.VALIDATE_HTML}


def draw(folder: Path, pages: dict[str, Path]) -> None:
    """Write a PNG file for the top of each page.

    Args:
        folder: Where to.
        pages: Name of the picture to the HTML file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="millrace-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        options.add_argument(f"--window-size={WIDTH},{HEIGHT}")
        browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            for name, path in pages.items():
                browser.get(path.absolute().as_uri())
                shot = io.BytesIO(base64.b64decode(browser.get_screenshot_as_base64()))
                Image.open(shot).convert("RGB").quantize(COLOURS).save(folder / f"{name}.png", optimize=True)
        finally:
            browser.quit()


def main() -> None:
    """Draw the pages of the working directory's project."""
    draw(FOLDER, PAGES)
    sys.stdout.write(f"{FOLDER}\n")


if __name__ == "__main__":
    main()
