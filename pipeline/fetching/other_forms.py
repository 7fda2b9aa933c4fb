"""Files of forms that no kind of source reads, each with the command that makes one of them that is read.

Told by their first bytes or their suffix, once nothing fits: somebody who points at a workbook, a database or an answer
of a web service is told what to type, not which kinds there are. No command writes to a name that is taken.
"""

import json
import re
import shlex
import sqlite3
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet

from pipeline.formats.problems import in_a_shell
from pipeline.formats.tables import literal, python_command, spreadsheet_refused

MOST_FORMS = 3
MOST_FILES = 2000
MOST_TABLES = 10
FEWEST_RECORDINGS = 8
MAX_JSON_BYTES = 1 << 26
BEGIN_BYTES = 4096
HTML = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|table)\b", re.IGNORECASE)
BY_BYTES = {
    b"ARROW1": ("Feather", "pandas", "pandas.read_feather({name}).to_parquet({made})", "-table.parquet"),
    b"Obj\x01": (
        "Avro",
        "fastavro, pandas",
        'pandas.DataFrame(fastavro.reader(open({name}, "rb"))).to_parquet({made})',
        "-table.parquet",
    ),
    b"\x89HDF\r\n\x1a\n": (
        "HDF5",
        "h5py, numpy",
        "numpy.savez({made}, **{{key: item[()] for key, item in h5py.File({name}).items()}})",
        "-arrays.npz",
    ),
    b"MATLAB 5.0": (
        "a file of MATLAB",
        "numpy, scipy.io",
        'numpy.savez({made}, **{{k: v for k, v in scipy.io.loadmat({name}).items() if k[0] != "_"}})',
        "-arrays.npz",
    ),
    b"RIFF....WAVE": (
        "sound",
        "numpy, scipy.io.wavfile as wav",
        'numpy.savetxt({made}, wav.read({name})[1], fmt="%g", delimiter=",")',
        "-table.csv",
    ),
}
"""How a form begins (a pattern) to its name, what is imported, what makes a file that is read, its ending."""
PACKED = {
    b"(\xb5/\xfd": ("zstd", "zstd -d {name}"),
    b"7z\xbc\xaf'\x1c": ("7-Zip", "7z x {name} && rm {name}"),
    b"Rar!\x1a\x07": ("RAR", "unrar x {name} && rm {name}"),
}
BY_SUFFIX = {
    ".zip": "unzip {name} -d {stem} && rm {name}",
    ".tar": "tar -xkf {name} && rm {name}",
    ".tgz": "tar -xkf {name} && rm {name}",
}
"""Commands that ask or stop before they replace a file."""
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")


def conversions(files: Mapping[str, Path]) -> list[str]:
    """Return in words what files of other forms are, and how they become readable; of each form the first file.

    Args:
        files: Where each lies, by its name.
    """
    found: dict[str, str] = {}
    if words := _recordings(files):
        found["recordings"] = words
    for name, path in islice(files.items(), MOST_FILES):
        for form, words in _forms(name, path, files):
            found.setdefault(form, words)
        if len(found) == MOST_FORMS:
            break
    return list(found.values())


def _beside(name: str, path: Path, ending: str, taken: Collection[str]) -> str:
    """Return what a command may call what it makes of a file: a name that no file has."""
    stem = str(PurePosixPath(name).with_suffix(""))
    made, number = f"{stem}{ending}", 1
    while made in taken or (path.parent / PurePosixPath(made).name).exists():
        number += 1
        made = f"{stem}-{number}{ending}"
    return made


def _coco(name: str, made: str) -> str:
    """Return how boxes on images become a table of what is on each image."""
    command = python_command(
        "json, pandas",
        f"all = {{k: pandas.DataFrame(v) for k, v in json.load(open({literal(name)})).items() "
        "if isinstance(v, list)}; "
        'all["annotations"][["image_id", "category_id"]]'
        '.merge(all["images"][["id", "file_name"]], left_on="image_id", right_on="id")'
        '.merge(all["categories"][["id", "name"]], left_on="category_id", right_on="id", suffixes=("", "_of"))'
        '.groupby("file_name")["name"].agg(lambda names: "|".join(sorted(set(names))))'
        f".to_csv({literal(made)})",
    )
    return (
        f"{name} holds boxes on images (COCO), which are not learnt here. What is on each image, as a table: "
        f"`{command}`; then --kind image_table --set path=file_name --set label=name"
    )


def _pictures_inside(name: str, path: Path, made: str) -> str:
    """Return how pictures in a column of Parquet, as Hugging Face has them, become files and a table; "" for none."""
    try:
        schema = pyarrow.parquet.read_schema(path)
    except pa.ArrowException:
        return ""
    columns = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    if not columns:
        return ""
    column = literal(columns[0])
    picture = literal(PurePosixPath(name).stem.replace("%", "%%") + "-%06d.png")
    command = python_command(
        "pandas",
        f"rows = pandas.read_parquet({literal(name)}); "
        f'rows["path"] = [{picture} % n for n in range(len(rows))]; '
        f'[open(path, "xb").write(image["bytes"]) for path, image in zip(rows["path"], rows[{column}])]; '
        f"rows.drop(columns={column}).to_csv({literal(PurePosixPath(made).name)}, index=False)",
    )
    return f"{name} holds pictures in column {columns[0]!r}. Make files of them: `{command}`; then --kind image_table"


def _database(name: str, path: Path, made: str) -> str:
    """Return how a table of a database becomes one that is read, and which there are."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            found = [
                str(row[0]) for row in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
    except sqlite3.Error:
        found = []
    tables = [table for table in found if not table.startswith("sqlite_")]
    chosen = (tables or ["NAME OF A TABLE"])[0].replace('"', '""')
    query = literal(f'SELECT * FROM "{chosen}"')  # noqa: S608  # shown, not run
    rows = f"pandas.read_sql({query}, sqlite3.connect({literal(name)}))"
    command = python_command("pandas, sqlite3", f"{rows}.to_csv({literal(made)}, index=False)")
    others = f" Other tables: {', '.join(tables[1:MOST_TABLES])}." if tables[1:] else ""
    return f"{name} is a database: `{command}`.{others}"


def _recordings(files: Mapping[str, Path]) -> str:
    """Return how arrays of one recording each become tables; "" where there are few, or other files."""
    suffixes = {PurePosixPath(name).suffix.lower() for name in files}
    if len(files) < FEWEST_RECORDINGS or suffixes not in ({".npy"}, {".npz"}):
        return ""
    name, path = next(iter(files.items()))
    array, suffix = "numpy.load(name)", suffixes.pop()
    if suffix == ".npz":
        if not zipfile.is_zipfile(path):
            return ""
        with zipfile.ZipFile(path) as archive:
            array += f"[{literal(archive.namelist()[0].removesuffix('.npy'))}]"
    command = python_command(
        "glob, numpy",
        f'[numpy.savetxt(name[:-4] + ".csv", {array}, delimiter=",") '
        f'for name in glob.glob("**/*{suffix}", recursive=True)]',
    )
    return (
        f"{len(files):,} files of arrays, such as {name}. If each is a recording, make tables of them, a row per step: "
        f"`{command}` in their folder; then --kind series_files --set header=false --set ignore=*.np*."
    )


def _forms(name: str, path: Path, taken: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what a file is and how it becomes readable."""
    place = PurePosixPath(name)
    suffix = place.suffix.lower()
    quoted = {"name": shlex.quote(name), "stem": shlex.quote(str(place.with_suffix("")))}
    table = _beside(name, path, "-table.csv", taken)
    with path.open("rb") as file:
        begin = file.read(BEGIN_BYTES)
    if HTML.match(begin):
        done = f"pandas.read_html({literal(name)})[0].to_csv({literal(table)}, index=False)"
        command = python_command("pandas", done)
        yield "html", f"{name} is a page of HTML: `{command}` (needs `pip install pandas lxml`)."
        return
    if suffix in (".xlsx", ".xlsm", ".xls", ".ods", ".numbers") and b"\0" in begin:
        yield "spreadsheet", str(spreadsheet_refused(name))
    if suffix in PICKLES:
        words = "a pickle, which runs what stands in it when it is opened. Whoever made it writes Parquet, CSV or .npz"
        yield "pickle", f"{name} is {words}."
    for mark, (form, imported, done, ending) in BY_BYTES.items():
        if re.match(mark, begin, re.DOTALL):
            made = literal(_beside(name, path, ending, taken))
            yield (
                form,
                f"{name} is {form}: `{python_command(imported, done.format(name=literal(name), made=made))}`.",
            )
    if begin.startswith(b"SQLite format 3\0"):
        yield "a database", _database(name, path, table)
    for mark, (form, command) in PACKED.items():
        if begin.startswith(mark):
            yield form, f"{name} is packed by {form}: `{command.format(**quoted)}`."
    if suffix in BY_SUFFIX:
        yield "archive", f"{name} is an archive inside the data: `{BY_SUFFIX[suffix].format(**quoted)}`."
    if begin.startswith(b"PAR1") and (words := _pictures_inside(name, path, table)):
        yield "pictures", words
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and path.stat().st_size <= MAX_JSON_BYTES:
        yield from _json(name, path, taken)


def _json(name: str, path: Path, taken: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield where the rows of a single JSON object are: below a key, by column, or by their index."""
    made = _beside(name, path, "-rows.jsonl", taken)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and "\n" in text[: error.pos].strip():
            command = f"jq -c . {shlex.quote(name)} > {shlex.quote(made)}"
            yield (
                "json",
                f"{name} holds objects over several lines each: `{command}`, and --path {in_a_shell(made)}.",
            )
        return
    except (UnicodeDecodeError, RecursionError):
        return
    if {"images", "annotations", "categories"} <= content.keys():
        yield "coco", _coco(name, _beside(name, path, "-labels.csv", taken))
        return
    tables = [
        key
        for key, value in content.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    quoted = literal(name)
    if len(tables) == 1:
        reading = f'pandas.DataFrame(json.load(open({quoted}, encoding="utf-8"))[{literal(tables[0])}])'
    elif {"columns", "data"} <= content.keys():
        reading = f'pandas.read_json({quoted}, orient="split", dtype=False, convert_dates=False)'
    elif content and not tables and all(isinstance(value, list) for value in content.values()):
        reading = f'pandas.DataFrame(json.load(open({quoted}, encoding="utf-8")))'
    elif content and all(isinstance(value, dict) and value for value in content.values()):
        orient = "index" if len(next(iter(content.values()))) < len(content) else "columns"
        reading = f'pandas.read_json({quoted}, orient="{orient}", dtype=False, convert_dates=False)'
    else:
        return
    command = python_command(
        "json, pandas", f'{reading}.to_json({literal(made)}, orient="records", lines=True)'
    )
    said = f"{name} is one JSON object whose rows are inside. Expected an object per row"
    yield "json", f"{said}: `{command}`, and --path {in_a_shell(made)}."
