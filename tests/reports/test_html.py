"""What pages share: pictures by importance, a foot that says what they are of, names that stay text."""

import base64
import datetime as dt

from pipeline.reports.html import Fact, Picture, data_fact, made_fact, pictures, render


def test_pictures_come_in_the_order_that_is_told_and_others_last(tmp_path):
    """Each with its title and sentence; a file that nobody knows has its name."""
    for name in ("codes", "a_new_one", "confusion", "another"):
        (tmp_path / f"{name}.png").write_bytes(name.encode())
    told = {
        "confusion": ("What was taken for what", "Rows."),
        "gone": ("Gone", ""),
        "codes": ("Codes", "Dots."),
    }
    found = pictures(tmp_path, told)
    assert ["What was taken for what", "Codes", "A new one", "Another"] == [one.title for one in found]
    assert ["Rows.", "Dots.", "", ""] == [one.told for one in found]
    assert b"confusion" == base64.b64decode(found[0].content)


def test_the_foot_of_a_page_has_a_line_per_fact():
    """With a link where there is one; names of data are text, not markup."""
    facts = [
        Fact("model", "digits <1>", "http://127.0.0.1:5000/#/models/digits"),
        data_fact({"kind": "digits", "count": 1797, "sha256": "c2dc" * 16}),
        made_fact(dt.datetime(2026, 3, 1, 2, 34, tzinfo=dt.UTC)),
    ]
    page = render("reduction_report.html.j2", facts=facts, rows=[], columns=[], verdicts=[], pictures=[])
    foot = page.partition("<footer>")[2]
    assert (
        '<dt>model</dt><dd><a href="http://127.0.0.1:5000/#/models/digits">digits &lt;1&gt;</a></dd>' in foot
    )
    assert "<dd>digits, 1,797 samples, sha256 c2dcc2dcc2dc</dd>" in foot
    assert "<dt>made</dt><dd>2026-03-01 02:34 UTC</dd>" in foot


def test_a_picture_has_words_for_who_does_not_see_it():
    """Title and sentence beside it, the title in its place."""
    page = render(
        "reduction_report.html.j2",
        rows=[],
        columns=[],
        verdicts=[],
        pictures=[Picture("Codes", "Dots.", "AA")],
    )
    assert '<img alt="Codes" src="data:image/png;base64,AA">' in page
    assert "<figcaption><b>Codes</b>Dots.</figcaption>" in page
    assert "<footer>" not in page
