"""Bodies of requests as records: JSON, forms and files of images, texts, tables, and the forms that MLflow takes.

A record that cannot be read stands there with its place and its problems; only a body that is none at all is refused
whole. Images are weighed before anybody decodes them: by their heads alone, for a kilobyte can hold millions of pixels.
"""

import base64
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from pipeline.inputs.record_columns import as_record, main_field
from pipeline.raw import heif
from pipeline.runtime.errors import DataRefused
from pipeline.serving.record import Record

JSON = "application/json"


class Item(NamedTuple):
    """One record of a request.

    Attributes:
        place: Where it stands, for messages.
        record: See `pipeline.serving.record`.
        problems: Why it cannot be read.
    """

    place: str
    record: Record
    problems: tuple[str, ...] = ()


class Row(Protocol):
    """A row of a table, see `pipeline.serving.record_files.Given`."""

    @property
    def place(self) -> str:
        """Return where it stands."""

    @property
    def record(self) -> Record:
        """Return what it holds."""

    @property
    def problems(self) -> tuple[str, ...]:
        """Return why it cannot be read."""


def refuse(status: int, message: str) -> HTTPException:
    """Return an exception that becomes the reply."""
    return HTTPException(status, message)


def json_content(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        HTTPException: 400; it holds none.
    """
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise refuse(400, f"The body is no JSON. Expected an object. Received: {error}.") from error
    if not isinstance(content, dict):
        raise refuse(400, f"The body is no JSON object. Expected one. Received: {_kind(content)}.")
    return content


def records_in(content: Mapping[str, Any], most: int) -> list[Item]:
    """Return the records of our own form, {"records": [...]}.

    Raises:
        HTTPException: 400 for another form, 413 for too many.
    """
    records = content.get("records")
    if not isinstance(records, list) or len(content) > 1:
        received = ", ".join(sorted(map(str, content)))[:200] or "an empty object"
        raise refuse(400, f'Expected {{"records": [...]}} with a list of records. Received: {received}.')
    return listed(records, most)


def listed(records: Sequence[Any], most: int) -> list[Item]:
    """Return records with their places.

    Raises:
        HTTPException: 400 for none, 413 for too many.
    """
    if not records:
        raise refuse(400, "There is no record. Expected at least one. Received: an empty list.")
    require_few(len(records), most)
    return [_item(f"records[{index}]", record) for index, record in enumerate(records)]


def require_few(count: int, most: int) -> None:
    """Refuse a request that holds too many records.

    Raises:
        HTTPException: 413.
    """
    if count > most:
        raise refuse(413, f"Too many records. Expected at most {most:,} in a request. Received: {count:,}.")


def _item(place: str, record: Any) -> Item:
    if isinstance(record, Mapping):
        return Item(place, record)
    return Item(
        place, {}, (f"A record is an object. Expected one. Received: {_kind(record)}. Mend the record.",)
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def image_in(body: bytes) -> list[Item]:
    """Return the one image that is the body."""
    return [Item("the body", {"image": body})]


def text_in(body: bytes) -> list[Item]:
    """Return the one text that is the body."""
    try:
        return [Item("the body", {"text": body.decode("utf-8")})]
    except UnicodeDecodeError as error:
        return [Item("the body", {}, (f"The text is no UTF-8. Expected UTF-8. Received: {error.reason}.",))]


async def form_in(request: Request, state: Mapping[str, Any], most: int, body_bytes: int) -> list[Item]:
    """Return the images of a form, one for each file; its other fields are columns beside all of them.

    Raises:
        HTTPException: 400 for a broken form or one without files.
    """
    async with request.form(max_files=most, max_fields=100, max_part_size=body_bytes) as form:
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise refuse(400, "The form holds no file. Expected images as files. Received: none.")
        return [
            _item(f"file {number} ({name!r})"[:80], as_record(fields | {"image": await file.read()}, state))
            for number, (name, file) in enumerate(files)
        ]


MLFLOW_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def invocation_in(content: Mapping[str, Any], state: Mapping[str, Any], most: int) -> list[Item]:
    """Return the records of one of MLflow's forms.

    Raises:
        HTTPException: 400 for another form, 413 for too many.
    """
    named = [form for form in MLFLOW_FORMS if form in content]
    if len(named) != 1:
        received = ", ".join(named) or "none of them"
        raise refuse(400, f"Expected exactly one of {', '.join(MLFLOW_FORMS)}. Received: {received}.")
    rows = _rows(named[0], content[named[0]], main_field(state), most)
    return [
        item._replace(record=as_record(item.record, state)) if item.record else item
        for item in listed(rows, most)
    ]


def _rows(form: str, given: Any, field: str, most: int) -> list[Any]:
    # Counted before an object is made of each.
    lists = given.values() if isinstance(given, dict) else [given]
    require_few(max((len(one) for one in lists if isinstance(one, list)), default=0), most)
    if form == "dataframe_split" and isinstance(given, dict):
        columns, data = given.get("columns"), given.get("data")
        if (
            isinstance(columns, list)
            and isinstance(data, list)
            and all(isinstance(name, str) for name in columns)
        ):
            return [
                dict(zip(columns, row, strict=True))
                if isinstance(row, list) and len(row) == len(columns)
                else row
                for row in data
            ]
    if form == "inputs" and isinstance(given, dict):
        lengths = {len(values) if isinstance(values, list) else -1 for values in given.values()}
        if len(lengths) == 1 and lengths != {-1}:
            return [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
    if form != "dataframe_split" and isinstance(given, list):
        # A bare value is what a record is about.
        return [
            row if isinstance(row, dict) or form == "dataframe_records" else {field: row} for row in given
        ]
    expected = {
        "dataframe_split": "columns (names) and data (a list of rows)", "dataframe_records": "a list of objects",
        "instances": "a list", "inputs": "a list, or an object of lists of one length",
    }  # fmt: skip
    raise refuse(400, f"{form} holds something else. Expected {expected[form]}. Received: {_kind(given)}.")


# --- How many pixels the images of a request have.

PNG = b"\x89PNG\r\n\x1a\n"
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""Of the files that sources read, `image_folder.SUFFIXES`."""
NO_IMAGE = -1
TOGETHER = 8
"""Images of the largest size that a request may hold; smaller ones so many more."""


def weighed(items: Sequence[Item], most: int) -> tuple[list[Item], int]:
    """Return the records of a request, those with too many pixels refused, and how many pixels the others have.

    Args:
        items: Of a model of images.
        most: Pixels of an image.

    Raises:
        HTTPException: 413, together they have too many.
    """
    kept, total = [], 0
    for item in items:
        pixels = pixels_of(item.record.get("image"))
        if pixels == NO_IMAGE:
            told = "The record's image is not what the model reads. Expected an intact image file. Received: no known "
            kept.append(item._replace(problems=(*item.problems, f"{told}image format. Mend the record.")))
            continue
        if pixels > most:
            told = f"The image is too large. Expected at most {most:,} pixels. Received: {pixels:,}."
            kept.append(item._replace(problems=(*item.problems, told)))
            continue
        kept.append(item)
        total += pixels
    if total > TOGETHER * most:
        raise refuse(
            413,
            f"The images are too large together. Expected at most {TOGETHER * most:,} pixels in a request. Received: "
            f"{total:,}.",
        )
    return kept, total


def pixels_of(image: Any) -> int:
    """Return how many pixels an image file says it has.

    0 where it does not say, which the scorer refuses; `NO_IMAGE` where it is none that a source would read. Pillow
    knows formats that run an interpreter or are parsed for seconds: a stranger on the network gets none of them.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        content = base64.b64decode(image) if isinstance(image, str) else image
        if not isinstance(content, bytes):
            return 0
        if content.startswith(PNG) and content[12:16] == b"IHDR":
            return int.from_bytes(content[16:20]) * int.from_bytes(content[20:24])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_formats()) as opened:
                return int(opened.width * opened.height)
    except UnidentifiedImageError:
        return NO_IMAGE
    except Exception:  # noqa: BLE001  # as the decoders of Pillow raise; the scorer says what is wrong
        return 0


@cache
def _formats() -> list[str]:
    """Return those that are read here."""
    from PIL import Image

    heif.let_pillow_read()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


# --- Tables, which are read as files are.

TABLES = {"text/csv": ".csv", "text/tab-separated-values": ".tsv"}
"""Content type to suffix."""


def items_of(rows: Iterable[Row], most: int) -> list[Item]:
    """Return the rows of a table as records.

    Args:
        rows: As `pipeline.serving.record_files` reads them.
        most: How many are read.

    Raises:
        HTTPException: 400, it cannot be read; 413, it holds too many.
    """
    items: list[Item] = []
    try:
        for row in rows:
            items.append(Item(row.place, row.record, row.problems))
            require_few(len(items), most)
    except DataRefused as error:
        raise refuse(400, str(error)) from error
    if not items:
        raise refuse(400, "The table has no row. Expected at least one below its header. Received: none.")
    return items
