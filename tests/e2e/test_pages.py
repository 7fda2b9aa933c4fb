"""Every page that Millrace writes or serves, in Chromium: at three widths, by day and by night, by axe-core.

Screenshots go to the folder that MILLRACE_SCREENSHOTS names, if it names one.
"""

import base64
import datetime as dt
import importlib.util
import os
import re
import shutil
import time
from contextlib import chdir, suppress
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from docs import build as site
from docs import screens
from pipeline import cli
from pipeline.metrics.intervals import Interval
from pipeline.reduction.comparison import by_dimensions, reduction_page
from pipeline.reports import charts
from pipeline.reports.html import made_fact
from pipeline.reports.style import save_figure
from pipeline.retraining import journal
from pipeline.runtime.files import read_json, write_json
from pipeline.serving.described import example_record
from pipeline.serving.explain import Explainer, explained_page
from pipeline.validation.report import validation_report
from pipeline.validation.series import series_previews
from pipeline.validation.texts import text_previews
from tests.e2e.test_mlflow_pages import browser  # noqa: F401  # a fixture
from tests.helpers.ingested import pictures
from tests.helpers.registration import make_ready_project, model, put_best, run_register
from tests.helpers.served_data import WRITTEN, served_model
from tests.helpers.served_models import DIGITS, state_of, write_model
from tests.helpers.synthetic_project import HERE
from tests.monitoring.test_watch import HOUR, NOON, Written
from tests.retraining.test_journal_history import ENTRY
from tests.serving.test_server import COMMAND, Running
from tests.validation.test_report import facts, outcome, report

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(600)]
WIDTHS = (400, 800, 1400)
NOW = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
SCHEMES = ("light", "dark")
OUTSIDE = """
const width = document.documentElement.clientWidth, scrolls = one =>
  one && one !== document.body && one !== document.documentElement &&
  (["auto", "scroll"].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
return {
  page: document.documentElement.scrollWidth - width,
  outside: [...document.body.querySelectorAll("*")].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && box.height && box.right > width + 1 && !scrolls(one.parentElement);
  }).map(one => one.outerHTML.slice(0, 120)),
  beyond: [...document.querySelectorAll("input, button, textarea, img, svg")].filter(one => {
    const box = one.getBoundingClientRect(), around = one.closest("section, .panel, main");
    return box.width > 1 && around && !scrolls(one.parentElement) && box.right > around.getBoundingClientRect().right + 1;
  }).map(one => one.outerHTML.slice(0, 120)),
  cut: [...document.body.querySelectorAll("*")].filter(one =>
    one.scrollWidth > one.clientWidth + 1 && one.clientWidth && getComputedStyle(one).overflowX === "hidden"
  ).map(one => one.outerHTML.slice(0, 120)),
};
"""
SETTLED = """
const done = arguments[0];
axe.run(document, {resultTypes: ["violations"]}).then(found => done(found.violations.map(one =>
  `${one.impact} ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ")}`)));
"""


def registered(folder: Path) -> dict[str, Path]:
    """The page of a run, its decision, and two versions side by side; with 26 classes, which are drawn."""
    root = make_ready_project(folder / "project")
    shutil.copy(HERE / "params.yaml", root / "params.yaml")
    names = [f"class {number}" for number in range(26)]
    rng = np.random.default_rng(0)
    f1 = {
        name: Interval(share, share - 0.1, share + 0.05)
        for name, share in zip(names, rng.random(26), strict=True)
    }
    drawn = root / "reports/evaluate/pictures"
    save_figure(charts.class_bars(f1, "cnn on test", "F1, with interval"), drawn / "per_class.png")
    counts = rng.integers(0, 9, (26, 26)) + 40 * np.eye(26, dtype=int)
    save_figure(charts.confusion_matrix(counts, names), drawn / "confusion.png")
    split = read_json(root / "reports/split/summary.json")
    split["classes"] = {name: {"train": 60 + place, "val": 20, "test": 9} for place, name in enumerate(names)}
    write_json(root / "reports/split/summary.json", split)
    with chdir(root), patch("pipeline.tracking.registry.check_in_fresh_process"):
        run_register()
        shown = {name: root / f"reports/register/{name}.html" for name in ("report", "decision")}
        put_best(root, model(9.0, confused=20.0))
        for name, path in shown.items():
            shown[name] = path.rename(folder / f"{name}.html")
        run_register()
        cli.main(["compare", "digits/1", "digits/2", "--page", str(folder / "compare.html")])
    refused = (root / "reports/register/decision.html").rename(folder / "refused.html")
    return {**shown, "refused": refused, "compare": folder / "compare.html"}


def validated(folder: Path) -> dict[str, Path]:
    """Images with something wrong, texts, series with columns."""
    outcomes = [outcome("mean", success=False, failing=["id0"]), outcome("mean", success=True)]
    images = report(
        facts(["hat", "a class with a name that is longer than others"] * 4), pictures(8), outcomes
    )
    table = facts(["ham", "spam"], characters=[12, 500], words=[1, 100], non_letter_share=0.1)
    table = table.drop(columns=["entropy_bits", "standard_deviation", "mean"]).assign(empty=0)
    said = ["a" * 60, "word " * 100]
    texts = validation_report(table, text_previews(said), outcomes[1:], description="2 texts")
    series = [np.linspace(0, 1, 30)[:, None] * [1, 2] for _ in range(5)]
    table = facts([""] * 5, steps=30.0, missing_share=0.0, constant_share=0.0)
    table = table.drop(columns=["entropy_bits", "standard_deviation", "class_ratio", "class_samples"])
    columns = pd.DataFrame(
        {"column": ["load"], "kind": ["channel"], "values": [np.nan], "missing_share": [0.25], "minimum": [0.0],
         "mean": [0.5], "maximum": [1.0], "constant": [1], "looks_like_id": [0], "far_out": [0]}
    )  # fmt: skip
    drawn = validation_report(table, series_previews(series), [], description="5 series", columns=columns)
    return {name: written(folder / f"{name}.html", page) for name, page in
            (("images", images), ("texts", texts), ("series", drawn))}  # fmt: skip


def written(path: Path, page: str) -> Path:
    path.write_text(page, encoding="utf-8")
    return path


def explained(folder: Path) -> dict[str, Path]:
    """What an image, a text with columns and a series rest on."""
    found = {}
    for name in ("digits", "towns", "hours"):
        scorer = served_model(name, folder / name).scorer
        record = example_record(scorer.state)
        (answer,) = scorer.answers([record])
        parts = Explainer(scorer).explained(record, answer)
        shown = [(f"00000{number}", record, parts) for number in range(3)]
        page = explained_page(f"{name} version 3", shown, scorer.state, [made_fact(NOW)])
        found[f"explained {name}"] = written(folder / f"explained-{name}.html", page)
    return found


def told(folder: Path) -> dict[str, Path]:
    """A log that drifted, beside a shadow; nights of retrains; autoencoders beside PCA."""
    log = Written(folder / "log")
    log.write(200)
    log.write(200, shift=0.3, start=NOON + 2 * HOUR, refused=5)
    with suppress(SystemExit):
        cli.main(["watch", str(folder / "log"), "--page", str(folder / "watch.html")])
    worse = {
        "outcome": "data_refused",
        "reasons": ["stat.mean drifted: 0.31, chance reaches 0.05."],
        "version": "",
    }
    nights = [ENTRY, ENTRY | worse, ENTRY | {"outcome": "held"}]
    history = written(folder / "history.html", journal.history_page(nights))
    rows = [
        {"method": method, "dimensions": 8, "reconstruction_error": error, "probe_accuracy": 0.9}
        for method, error in (("autoencoder", 0.01), ("pca", 0.02))
    ]
    drawn = folder / "reduce"
    drawn.mkdir()
    save_figure(by_dimensions(rows, "reconstruction_error", {"pca": "PCA", "autoencoder": "autoencoder"}),
                drawn / "reconstruction_error.png")  # fmt: skip
    reduced = written(folder / "reduced.html", reduction_page(rows, None, drawn))
    return {"watch": folder / "watch.html", "history": history, "reduced": reduced}


def documents(folder: Path) -> dict[str, Path]:
    """The first page, one with formulas and pictures, one with wide tables, one made of the code."""
    assert [] == site.build(folder / "site")
    names = ("index", "docs/course/03-losses", "docs/combinations", "reference/commands", "docs/reading")
    return {f"site {name}": folder / "site" / f"{name}.html" for name in names}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Address of every page by its name."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for kind in (registered, validated, explained, told, documents):
        place = folder / kind.__name__
        place.mkdir()
        made |= {name: path.as_uri() for name, path in kind(place).items()}
    running = {
        name: Running([*COMMAND, write_model(folder / f"served-{name}", state), "--port", "0"])
        for name, state in (("digits", DIGITS), ("towns", state_of(WRITTEN["towns"], folder / "data")))
    }
    for name, one in running.items():
        made |= {f"served {name}": f"{one.uri}/", f"programs {name}": f"{one.uri}/docs"}
    yield made
    for one in running.values():
        one.end()
        one.process.communicate(timeout=30)


@pytest.fixture
def look(browser):  # noqa: F811
    """Return a function that opens a page so wide, by day or by night, and waits until it stands."""

    def opened(address: str, width: int, scheme: str = "light"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        if browser.current_url != address:
            browser.get(address)
        if send := browser.find_elements("id", "send"):  # a served page: with an answer on it
            send[0].click()
        time.sleep(0.3)
        return browser

    yield opened
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, out of the package that carries it; of that package nothing is imported."""
    found = importlib.util.find_spec("axe_playwright_python")
    assert found, "`make setup` installs it"
    return (Path(str(found.origin)).parent / "axe.min.js").read_text(encoding="utf-8")


def keep(page, name: str) -> None:
    """Keep a picture of the whole page where MILLRACE_SCREENSHOTS says so."""
    if folder := os.environ.get("MILLRACE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shot = page.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
        (Path(folder) / f"{name.replace('/', '-').replace(' ', '-')}.png").write_bytes(base64.b64decode(shot))


def test_no_page_is_wider_than_its_window_or_cuts_anything_off(pages, look):
    """At 400, 800 and 1400 pixels; what is wide scrolls in its own frame."""
    wrong = []
    for name, address in pages.items():
        for width in WIDTHS:
            page = look(address, width)
            found = page.execute_script(OUTSIDE)
            if found.pop("page") > 0 or any(found.values()):
                wrong.append(f"{name} at {width}: {found}")
            keep(page, f"{name}-{width}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_axe_finds_nothing(pages, look, axe, scheme):
    """No violation of any of its rules, at any width; pictures have words, what scrolls can be reached by keys."""
    wrong = []
    for name, address in pages.items():
        for width in WIDTHS:
            page = look(address, width, scheme)
            if not page.execute_script("return 'axe' in window"):
                page.execute_script(axe)
            wrong += [f"{name} at {width}: {problem}" for problem in page.execute_async_script(SETTLED)]
            if width == 800:
                keep(page, f"{name}-{width}-{scheme}")
    assert not wrong, "\n".join(wrong)


def test_a_page_can_be_walked_by_keys_alone(pages, look):
    """Tab reaches every link, field and frame that scrolls, in the order of the page, and shows where it is."""
    for name, address in pages.items():
        page = look(address, 400)
        reachable = page.execute_script(
            "return [...document.querySelectorAll('a[href], button, input:not([hidden]), textarea, summary, [tabindex]')]"
            ".filter(one => one.tabIndex >= 0 && one.getClientRects().length && !one.closest('details:not([open]) > :not(summary)')).length"
        )
        page.execute_script("window.walked = new Set(); document.body.tabIndex = -1; document.body.focus();"
                            "addEventListener('focusin', event => walked.add(event.target))")  # fmt: skip
        ActionChains(page).send_keys(Keys.TAB * min(reachable, 40)).perform()
        assert min(reachable, 40) <= len(page.execute_script("return [...walked].map(one => one.tagName)")), (
            name
        )


def test_every_page_says_what_it_is_of(pages, look):
    """Model and version, data, commit and day stand at the foot of a page of a run; others say what they can."""
    expected = {
        "report": ("digits version 1", "digits, 100 samples", "commit", "registered", "dashboard"),
        "decision": ("digits version 1", "digits, 100 samples", "commit", "registered", "the whole run"),
        "compare": ("digits version 1", "digits version 2", "digits, 100 samples", "made"),
        "images": ("8 images", "sha256"),
        "watch": ("digits", "records", "made"),
        "history": ("pictures", "2026-03-01"),
    }
    for name, parts in expected.items():
        foot = look(pages[name], 1400).find_element("tag name", "footer").text
        assert [] == [part for part in parts if part not in foot], foot


def test_the_pictures_of_the_documents_are_drawn_by_the_code_that_says_so(pages, tmp_path):
    """The top of each page that docs/reading.md shows, small enough for a repository."""
    shown = set(re.findall(r"\]\(pictures/(\w+)\.png\)", (HERE / "docs/reading.md").read_text()))
    kept = HERE / "docs/pictures"
    assert shown == {*screens.PAGES, *screens.DASHBOARD} == {path.stem for path in kept.glob("*.png")}
    places = {"report": "report", "decision": "decision", "data": "images"}
    screens.draw(tmp_path, {name: (pages[place], ()) for name, place in places.items()})
    for path in (*tmp_path.glob("*.png"), *kept.glob("*.png")):
        assert (screens.WIDTH, screens.HEIGHT) == Image.open(path).size
        assert path.stat().st_size < 100_000
