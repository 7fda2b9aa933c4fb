"""Files of forms that no kind of source reads, each with the command that makes one of them that is read.

Told by their first bytes or their suffix, once nothing fits: somebody who points at a workbook, a database or an answer
of a web service is told what to type, not which kinds there are.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet

from pipeline.formats.tables import spreadsheet_refused

MOST_FORMS = 3
MOST_FILES = 2000
FEWEST_RECORDINGS = 8
MAX_JSON_BYTES = 1 << 26
BEGIN_BYTES = 4096
BY_BYTES = {
    b"ARROW1": ("Feather", "pandas", "pandas.read_feather({name!r}).to_parquet({stem!r} + '.parquet')"),
    b"Obj\x01": (
        "Avro",
        "fastavro, pandas",
        "pandas.DataFrame(fastavro.reader(open({name!r}, 'rb'))).to_parquet({stem!r} + '.parquet')",
    ),
    b"\x89HDF\r\n\x1a\n": (
        "HDF5",
        "h5py, numpy",
        "numpy.savez({stem!r}, **{{key: item[()] for key, item in h5py.File({name!r}).items()}})",
    ),
    b"MATLAB 5.0": (
        "a file of MATLAB",
        "numpy, scipy.io",
        "numpy.savez({stem!r}, **{{k: v for k, v in scipy.io.loadmat({name!r}).items() if k[0] != '_'}})",
    ),
    b"RIFF": (
        "sound",
        "numpy, scipy.io.wavfile as wav",
        "numpy.savetxt({stem!r} + '.csv', wav.read({name!r})[1], fmt='%g', delimiter=',')",
    ),
    b"SQLite format 3\0": (
        "a database",
        "",
        "sqlite3 -header -csv {name!r} 'SELECT * FROM TABLE' > {stem!r}.csv",
    ),
    b"(\xb5/\xfd": ("packed by zstd", "", "zstd -d {name!r}"),
    b"7z\xbc\xaf'\x1c": ("packed by 7-Zip", "", "7z x {name!r} && rm {name!r}"),
    b"Rar!\x1a\x07": ("packed by RAR", "", "unrar x {name!r} && rm {name!r}"),
}
"""First bytes to the form's name, and what makes files that are read of it: Python after an import, or a command."""
BY_SUFFIX = {
    ".zip": "unzip {name!r} -d {stem!r} && rm {name!r}",
    ".tar": "tar -xf {name!r} && rm {name!r}",
    ".tgz": "tar -xf {name!r} && rm {name!r}",
}
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
        for form, words in _forms(name, path):
            found.setdefault(form, words)
        if len(found) == MOST_FORMS:
            break
    return list(found.values())


def _coco(name: str) -> str:
    """Return how boxes on images become a table of what is on each image."""
    command = (
        f'python -c "import json, pandas; all = {{k: pandas.DataFrame(v) for k, v in json.load(open({name!r})).items() '
        "if isinstance(v, list)}; all['annotations'][['image_id', 'category_id']]"
        ".merge(all['images'][['id', 'file_name']], left_on='image_id', right_on='id')"
        ".merge(all['categories'][['id', 'name']], left_on='category_id', right_on='id', suffixes=('', '_of'))"
        ".groupby('file_name')['name'].agg(lambda names: '|'.join(sorted(set(names)))).to_csv('labels.csv')\""
    )
    return (
        f"{name} holds boxes on images (COCO), which are not learnt here. What is on each image, as a table: "
        f"`{command}`; then --kind image_table --set path=file_name --set label=name"
    )


def _pictures_inside(name: str, path: Path) -> str:
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
    stem = PurePosixPath(name).stem
    command = (
        f'python -c "import pandas; rows = pandas.read_parquet({name!r}); '
        f"rows['path'] = ['{stem}-%06d.png' % n for n in range(len(rows))]; "
        f"[open(path, 'wb').write(image['bytes']) for path, image in zip(rows['path'], rows[{columns[0]!r}])]; "
        f"rows.drop(columns={columns[0]!r}).to_csv('{stem}.csv', index=False)\""
    )
    return f"{name} holds pictures in column {columns[0]!r}. Make files of them: `{command}`; then --kind image_table"


def _recordings(files: Mapping[str, Path]) -> str:
    """Return how arrays of one recording each become tables; "" where there are few, or other files."""
    suffixes = {PurePosixPath(name).suffix.lower() for name in files}
    if len(files) < FEWEST_RECORDINGS or suffixes not in ({".npy"}, {".npz"}):
        return ""
    name, path = next(iter(files.items()))
    array = "numpy.load(name)"
    if suffixes == {".npz"}:
        if not zipfile.is_zipfile(path):
            return ""
        with zipfile.ZipFile(path) as archive:
            array += f"[{archive.namelist()[0].removesuffix('.npy')!r}]"
    command = (
        "python -c \"import glob, numpy; [numpy.savetxt(name[:-4] + '.csv', "
        f"{array}, delimiter=',') for name in glob.glob('**/*{suffixes.pop()}', recursive=True)]\""
    )
    return (
        f"{len(files):,} files of arrays, such as {name}. If each is a recording, make tables of them, a row per step: "
        f"`{command}` in their folder; then --kind series_files --set header=false --set ignore=*.np*."
    )


def _forms(name: str, path: Path) -> Iterator[tuple[str, str]]:
    place = PurePosixPath(name)
    suffix, stem = place.suffix.lower(), str(place.with_suffix(""))
    with path.open("rb") as file:
        begin = file.read(BEGIN_BYTES)
    if b"<table" in begin.lower() or (b"<html" in begin.lower() and suffix in (".xls", ".xlsx")):
        command = (
            f'python -c "import pandas; pandas.read_html({name!r})[0].to_csv({stem + ".csv"!r}, index=False)"'
        )
        yield "html", f"{name} is a page of HTML: `{command}` (needs `pip install pandas lxml`)."
        return
    if suffix in (".xlsx", ".xlsm", ".xls", ".ods", ".numbers") and b"\0" in begin:
        yield "spreadsheet", str(spreadsheet_refused(name))
    if suffix in PICKLES:
        words = "a pickle, which runs what stands in it when it is opened. Whoever made it writes Parquet, CSV or .npz"
        yield "pickle", f"{name} is {words}."
    for mark, (form, imported, made) in BY_BYTES.items():
        if begin.startswith(mark):
            done = made.format(name=name, stem=stem)
            command = f'python -c "import {imported}; {done}"' if imported else done
            yield form, f"{name} is {form}: `{command}`."
    if suffix in BY_SUFFIX:
        yield (
            "archive",
            f"{name} is an archive inside the data: `{BY_SUFFIX[suffix].format(name=name, stem=stem)}`.",
        )
    if begin.startswith(b"PAR1") and (words := _pictures_inside(name, path)):
        yield "pictures", words
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and path.stat().st_size <= MAX_JSON_BYTES:
        yield from _json(name, stem, path)


def _json(name: str, stem: str, path: Path) -> Iterator[tuple[str, str]]:
    """Yield where the rows of a single JSON object are: below a key, by column, or by their index."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and error.lineno > 2:
            yield (
                "json",
                f"{name} holds objects over several lines each: `jq -c . '{name}' > '{stem}.jsonl'`.",
            )
        return
    except (UnicodeDecodeError, RecursionError):
        return
    if {"images", "annotations", "categories"} <= content.keys():
        yield "coco", _coco(name)
        return
    tables = [
        key
        for key, value in content.items()
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    made = f"{stem}-rows.jsonl"
    if len(tables) == 1:
        reading = f"pandas.DataFrame(json.load(open({name!r}, encoding='utf-8'))[{tables[0]!r}])"
    elif {"columns", "data"} <= content.keys():
        reading = f"pandas.read_json({name!r}, orient='split', dtype=False, convert_dates=False)"
    elif content and not tables and all(isinstance(value, list) for value in content.values()):
        reading = f"pandas.DataFrame(json.load(open({name!r}, encoding='utf-8')))"
    elif content and all(isinstance(value, dict) and value for value in content.values()):
        orient = "index" if len(next(iter(content.values()))) < len(content) else "columns"
        reading = f"pandas.read_json({name!r}, orient={orient!r}, dtype=False, convert_dates=False)"
    else:
        return
    command = f"python -c \"import json, pandas; {reading}.to_json({made!r}, orient='records', lines=True)\""
    yield (
        "json",
        f"{name} is one JSON object whose rows are inside. Expected an object per row: `{command}`, and --path {made}.",
    )
