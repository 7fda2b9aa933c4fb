"""The page of `millrace serve` in a real browser: an image is dropped, a text typed, steps pasted, and the answer seen."""

import io
import json
import shutil
import time
from functools import partial

import pytest
from PIL import Image

from pipeline.serving.scorer import Scorer
from tests.e2e.test_mlflow_pages import browser  # noqa: F401  # a fixture
from tests.helpers.served_data import WRITTEN
from tests.helpers.served_models import DIGITS, state_of, write_model
from tests.serving.test_server import COMMAND, Running

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(300)]
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), one => one.charCodeAt(0)), given = new DataTransfer();
given.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true}));
"""


@pytest.fixture
def opened(browser, tmp_path):  # noqa: F811
    """Return a function that serves a model and opens its page."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium and chromedriver on PATH")
    running = []

    def of(name, *options):
        state = DIGITS if name == "digits" else state_of(WRITTEN[name], tmp_path / "data")
        folder = write_model(tmp_path / name, state)
        running.append(Running([*COMMAND, folder, "--port", "0", *options]))
        browser.get_log("browser")  # what earlier pages said
        browser.get(running[-1].uri + "/")
        return folder

    yield of
    for one in running:
        one.end()
        one.process.communicate(timeout=30)


def wait(page, name, holds):
    """Wait until an element shows what is asked for, and return its text."""
    deadline = time.monotonic() + 20
    while True:
        text = (page.find_elements("id", name) or [page.find_element("tag name", "body")])[0].text
        if holds(text):
            return text
        assert time.monotonic() < deadline, f"{name}: {text!r}"
        time.sleep(0.1)


def errors(page):
    """Return what the browser complains about: a script that fails, something that was not allowed."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def test_an_image_is_dropped_and_its_class_seen(opened, browser):  # noqa: F811
    """With the probabilities below it; a file that is none is told as the scorer tells it."""
    import base64

    folder = opened("digits")
    wait(browser, "drop", lambda text: "Drop an image" in text)
    assert not browser.find_element("id", "token").is_displayed(), "nobody asks for one"
    file = io.BytesIO()
    Image.new("L", (30, 20), 210).save(file, "png")
    (expected,) = Scorer(folder).answers([{"image": file.getvalue()}])
    browser.execute_script(DROP, base64.b64encode(file.getvalue()).decode())
    assert expected["class"] == wait(browser, "said", bool)
    assert f"{100 * expected['probability']:.1f} %" in browser.find_element("id", "bars").text
    assert [] == errors(browser)
    browser.execute_script(DROP, base64.b64encode(b"no image").decode())
    wait(browser, "said", lambda text: "an intact image file" in text)


def test_a_text_is_typed_with_what_stands_beside_it(opened, browser):  # noqa: F811
    """The fields of side columns are there; the answer is the scorer's."""
    folder = opened("towns")
    wait(browser, "name", lambda text: "towns" in text)
    field = browser.find_element("id", "text")
    field.clear()
    field.send_keys("win a home")
    age, town = (browser.find_element("name", f"side.{name}") for name in ("age", "town"))
    for one, value in ((age, "7"), (town, "Bonn")):
        one.clear()
        one.send_keys(value)
    browser.find_element("id", "send").click()
    (expected,) = Scorer(folder).answers([{"text": "win a home", "side": {"age": "7", "town": "Bonn"}}])
    assert expected["class"] == wait(browser, "said", bool)
    age.clear()
    age.send_keys("old")
    browser.find_element("id", "send").click()
    wait(browser, "said", lambda text: "age='old'" in text)
    assert [] == [message for message in errors(browser) if "422" not in message]


def test_steps_are_pasted_and_a_token_asked_for(opened, browser, tmp_path):  # noqa: F811
    """Without the token nothing of the model is shown; what is no JSON is told."""
    (tmp_path / "tokens").write_text("t" * 20)
    folder = opened("hours", "--tokens", tmp_path / "tokens")
    wait(browser, "name", partial(str.__eq__, "Which token?"))
    token = browser.find_element("id", "token")
    token.send_keys("t" * 20)
    browser.execute_script("arguments[0].blur()", token)
    wait(browser, "name", lambda text: "hours" in text)
    shown = browser.find_element("id", "series").get_attribute("value")
    assert json.loads(shown)
    browser.find_element("id", "send").click()
    wait(browser, "said", lambda text: text.startswith("load: "))
    browser.execute_script("document.getElementById('series').value = '[[1'")
    browser.find_element("id", "send").click()
    wait(browser, "said", lambda text: "no JSON" in text)
    assert folder.is_dir()


def test_the_page_for_programs_shows_the_example(opened, browser):  # noqa: F811
    """Every endpoint, and the example of this very model."""
    opened("towns")
    wait(browser, "name", lambda text: "towns" in text)
    browser.find_element("link text", "For programs").click()
    text = wait(browser, "paths", lambda text: "/predict" in text)
    for said in ("/invocations", "/v2/models/towns/infer", "/health/ready", '"town"'):
        assert said in text
    assert [] == errors(browser)
