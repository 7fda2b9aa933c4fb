"""`millrace export`: a model as one file for elsewhere, with its papers, in the formats that others run."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.export.places import PLACES
from pipeline.params.load import load_params
from pipeline.runtime.errors import InputMissing, WronglyCalled, say
from pipeline.runtime.files import read_json
from pipeline.serving.model_folder import (
    SUFFIX,
    absolute_path,
    named_model,
    require_replaceable,
    write_bundle,
)

if TYPE_CHECKING:
    from pipeline.versions.formats import Made
    from pipeline.versions.whole import Whole

HELP = "a model as one file for elsewhere: its papers, and the model as ONNX, SavedModel, LiteRT or Keras, proven"
RECORDED = False
PAPERS = (
    "card.json", "dvc.lock", "golden.npz", "params.yaml", "reference.json", "settings.json", "source.json", "state.json"
)  # fmt: skip
"""What goes along, as far as it is there. Not trained_on.parquet, which names the samples."""
ORIGIN = ("git.commit", "git.dirty", "dvc.stages.sha256", "data.source.sha256", "environment.sha256")
"""Tags of a version that say what it came from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    text = (
        "MODEL, MODEL/VERSION or MODEL@ALIAS, or a folder like models/best (default: this project's champion)"
    )
    parser.add_argument("model", nargs="?", default="", metavar="MODEL", type=named_model, help=text)
    text = "beside ONNX, which is always there: keras, saved_model or litert (no recurrent layers); may stand again"
    parser.add_argument("--format", action="append", default=[], choices=PLACES, help=text)
    text = f"the file (default: NAME-VERSION{SUFFIX} here)"
    parser.add_argument("--out", type=absolute_path, metavar="FILE", help=text)
    parser.set_defaults(here=absolute_path("."))
    text = "text that says what others may do with the model; goes along as LICENSE"
    parser.add_argument("--licence", type=absolute_path, metavar="FILE", help=text)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    if options.out is not None and options.out.suffix != SUFFIX:
        raise WronglyCalled(
            f"A bundle is a zip. Expected a name that ends in {SUFFIX}. Received: --out {options.out}. Rename it."
        )
    if options.licence is not None and not options.licence.is_file():
        raise InputMissing(f"There is no {options.licence}. Expected a text. Correct --licence.")
    from pipeline.versions.fetched import whole_model

    here = options.out.parent if options.out is not None else options.here
    if not here.is_dir():
        raise InputMissing(f"There is no {here}. Expected a folder for the bundle. Correct --out.")
    wanted = list(dict.fromkeys(["onnx", *options.format]))
    with whole_model(Path.cwd(), options.model, load_params().register.model_name) as model:
        out = options.out or here / f"{'-'.join(filter(None, (model.name, model.version)))}{SUFFIX}"
        require_replaceable(out)
        say(model.called, file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="millrace-") as temporary:
            made = _made(wanted, model, Path(temporary))
            manifest = _manifest(model, made, options.licence)
            files = _files(model, made, manifest, options.licence)
            digest = write_bundle(out, manifest, files)
        for line in _lines(made):
            say(line)
    say(f"{out}: {out.stat().st_size:,} bytes, sha256 {digest}")
    say(
        "It holds the 16 samples of the test set with which a reader proves it (golden.npz): real ones, as arrays"
    )
    shown = shlex.quote(str(out))
    say(f"Next: millrace predict {shown} INPUT, or millrace serve {shown}; neither needs a registry")


def _made(wanted: list[str], model: "Whole", folder: Path) -> dict[str, "Made"]:
    from pipeline.inference import backend

    settings = read_json(model.folder / "settings.json")
    backend.prepare_tensorflow(settings["threads"], settings["seed"])
    from pipeline.versions.formats import inputs_of_test, make_formats  # Keras

    return make_formats(
        wanted, model.folder, model.keras_file, folder, inputs_of_test(model.folder, model.keras_file)
    )


def _manifest(model: "Whole", made: Mapping[str, "Made"], licence: Path | None) -> dict[str, Any]:
    from pipeline.evaluation.golden import GOLDEN_ANSWERS, read_npz
    from pipeline.inference.prediction import mirrored_images
    from pipeline.inputs.specs import output_spec
    from pipeline.runtime.files import file_digest

    state, settings = (read_json(model.folder / name) for name in ("state.json", "settings.json"))
    golden = read_npz(model.folder / "golden.npz")
    del golden[GOLDEN_ANSWERS]
    given = golden if len(golden) > 1 else next(iter(golden.values()))
    return {
        "model": {
            "name": model.name,
            "version": model.version or None,
            "keras_sha256": file_digest(model.keras_file, "sha256"),
            "family": settings["family"],
            "task": output_spec(state).task,
            "mirrored": bool(settings["training"].get("test_time_flip"))
            and mirrored_images(given) is not None,
        },
        "origin": {name: model.tags[name] for name in ORIGIN if name in model.tags},
        "tensors": {
            name: {"dtype": str(array.dtype), "shape": list(array.shape[1:])}
            for name, array in golden.items()
        },
        "formats": {name: {"file": one.place.name, **one.as_json()} for name, one in made.items()},
        "licence": None if licence is None else "see LICENSE",
    }


def _files(
    model: "Whole", made: Mapping[str, "Made"], manifest: Mapping[str, Any], licence: Path | None
) -> dict[str, Path | bytes]:
    from pipeline.inputs.record_columns import flat_columns
    from pipeline.reports.model_card import model_card
    from pipeline.runtime.files import json_text
    from pipeline.serving.described import answer_schema, record_schema
    from pipeline.serving.model_folder import Named
    from pipeline.serving.served import Served
    from pipeline.tracking.packing import record_signature

    files: dict[str, Path | bytes] = {
        name: path for name in PAPERS if (path := model.paper(name)) is not None
    }
    for one in made.values():
        inside = (
            sorted(path for path in one.place.rglob("*") if path.is_file())
            if one.place.is_dir()
            else [one.place]
        )
        files |= {path.relative_to(one.place.parent).as_posix(): path for path in inside}
    served = Served(Named(model.name, model.version, model.folder), {})
    state = served.scorer.state
    record = record_schema(state)
    schema = {
        "record": record,
        "answer": answer_schema(state, served.example_answer),
        "mlflow_signature": record_signature(flat_columns(state)).to_dict(),
    }
    files["schema.json"] = json_text(schema).encode()
    files["MODEL_CARD.md"] = model_card(manifest, read_json(model.folder / "card.json"), record).encode()
    if licence is not None:
        files["LICENSE"] = licence
    return files


def _lines(made: Mapping[str, "Made"]) -> list[str]:
    lines = []
    for name, one in made.items():
        proofs = [f"golden {one.golden.rows}: {one.golden.largest:.2g}"]
        proofs.append(
            "test rows: not here" if one.test is None else f"test {one.test.rows}: {one.test.largest:.2g}"
        )
        lines.append(
            f"  {name:<12} {one.bytes:>12,} bytes   largest difference from Keras, {', '.join(proofs)}"
        )
    return lines
