"""Stage `ingest`: decode every sample into one canonical data set, and count what was odd.

Reads: data/raw/source.tar, data/source.json (kind and number of samples).
Writes: data/interim/samples.parquet, data/interim/payload.npy, reports/ingest/summary.json.
Parameters: data.
"""

import hashlib
import math
import tarfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.fetching.source import KINDS, read_source
from pipeline.ingest.images import (
    CommonShape,
    DecodedImage,
    GreyValues,
    Resize,
    UndecodableImage,
    decode,
    from_pixels,
    oddities,
    resized,
)
from pipeline.ingest.recordings import labelled_windows
from pipeline.ingest.sequences import described, ingest_sequences
from pipeline.ingest.writers import Tally, Targets, in_order, npy_writer, sample_writer
from pipeline.params.load import load_params
from pipeline.raw.answers import UNLABELLED, Answered, has_answer, without_classes
from pipeline.raw.label_sets import label_cell, labels_of, with_label_sets
from pipeline.raw.sample import RawSample
from pipeline.raw.spellings import joined_samples
from pipeline.runtime import paths
from pipeline.runtime.errors import DataRefused
from pipeline.runtime.files import write_json
from pipeline.runtime.stage import running_stage
from pipeline.sources.kinds import common_options, options_of, source_of

if TYPE_CHECKING:
    from rich.console import Console


def main() -> None:
    """Run the stage from the command line."""
    with running_stage("ingest") as stage:
        data = load_params().data
        source = read_source()
        if not paths.RAW_TAR.is_file():
            raise FileNotFoundError(f"{paths.RAW_TAR} does not exist. Run `dvc repro fetch`.")
        with tarfile.open(paths.RAW_TAR, "r:") as archive:
            read = source_of(source.kind).read(archive, options_of(source.kind, source.options))
            unlabelled = source.options.get("unlabelled", "fail")
            rejecting = unlabelled == "reject" and source.unlabelled > 0
            answered = Answered(source.options, source.kind, rejecting=True)
            apart = with_label_sets(answered.among(read), common_options(source.options).labels_separator)
            wanted = without_classes(joined_samples(apart, source.joined), source.rare)
            num_samples = source.count + (source.unlabelled if rejecting else 0)
            samples = _watched(wanted, num_samples, stage.console)
            if KINDS[source.kind] == "image" and data.policy is not None and data.resize is not None:
                summary = ingest(
                    samples,
                    num_samples=num_samples,
                    task=data.task,
                    max_rejected_share=data.max_rejected_share,
                    limit_per_class=data.limit_per_class,
                    image_size=data.image_size,
                    channels=data.channels,
                    resize=data.resize,
                    size_policy=data.policy.size,
                    mode_policy=data.policy.mode,
                    exif_rotation_policy=data.policy.exif_rotation,
                    undecodable_policy=data.policy.undecodable,
                    frames_policy=data.policy.frames or "first",
                    reject_unlabelled=rejecting,
                    grey_range=data.grey_range,
                )
            else:
                cut = data.labelled_windows
                if cut is not None:
                    samples = labelled_windows(
                        samples,
                        num_recordings=source.count,
                        length=cut.length,
                        stride=cut.stride,
                        label=cut.label,
                    )
                summary = ingest_sequences(
                    samples,
                    num_samples=None if cut else num_samples,
                    task=data.task,
                    max_rejected_share=data.max_rejected_share,
                    limit_per_class=data.limit_per_class,
                    windowed=data.windows is not None,
                    labelled=cut is not None,
                    unlabelled=str(unlabelled) if cut or rejecting else "fail",
                )
        stage.console.print(
            f"ingest: kept {summary['kept']:,} of {summary['read']:,} samples, {described(summary)}; "
            f"rejected: {_listed(summary['rejected'])}; converted: {_listed(summary['converted'])}"
            f"{_left_out_in_words(summary)}",
            markup=False,
            highlight=False,
        )
        if summary["num_rejected"]:
            names = [name for names in summary["rejected_examples"].values() for name in names]
            stage.console.print(
                f"Rejected: {', '.join(names[:5])}; more in {paths.INGEST_REPORT}",
                markup=False,
                highlight=False,
            )


def ingest(
    samples: Iterable[RawSample],
    *,
    num_samples: int,
    image_size: tuple[int, int] | None,
    channels: Literal[1, 3] | None,
    resize: Resize,
    size_policy: Literal["convert", "reject"],
    mode_policy: Literal["convert", "reject"],
    exif_rotation_policy: Literal["convert", "reject"],
    undecodable_policy: Literal["reject", "fail"],
    max_rejected_share: float,
    frames_policy: Literal["first", "reject"] = "first",
    reject_unlabelled: bool = False,
    grey_range: tuple[float, float] | None = None,
    limit_per_class: int | None = None,
    task: str = "classification",
) -> dict[str, Any]:
    """Write the canonical data set in one pass; memory does not grow with the data.

    Args:
        samples: Images, ordered by `sample_id`.
        num_samples: How many there must be.
        image_size: Height and width in pixels; None: all images must have the size of the first.
        channels: 1 or 3; None: all images must have as many as the first.
        resize: stretch, pad or crop; see `pipeline.ingest.images.resized`.
        size_policy: For images of another size than `image_size`.
        mode_policy: For files whose pixels are not L (1 channel) or RGB (3 channels) already.
        exif_rotation_policy: For photographs that lie on their side.
        undecodable_policy: For broken files.
        frames_policy: For animations and files with pages, of which the first is taken.
        reject_unlabelled: Whether images without an answer come, and count as rejected.
        grey_range: As `pipeline.ingest.images.decode` takes it.
        max_rejected_share: Share of the samples in [0, 1) that may be rejected.
        limit_per_class: Classification only: keep the first so many of each class and given split; None: all.
        task: As data.task; only classification asks for classes, only regression for targets.

    Returns:
        The content of reports/ingest/summary.json.

    Raises:
        DataRefused: Too much was rejected, sizes or channels differ where none are given, fewer than
            two classes are left, or the number of samples is another.
    """
    policies = {
        "size": size_policy,
        "mode": mode_policy,
        "exif_rotation": exif_rotation_policy,
        "frames": frames_policy,
    }
    rejecting = {oddity for oddity, policy in policies.items() if policy == "reject"}
    common, tally, targets, image_shape = CommonShape(image_size, channels), Tally(), Targets(), [0, 0, 0]
    grey = GreyValues(grey_range)
    limit = None if task == "regression" else limit_per_class
    with npy_writer(paths.PAYLOAD_NPY) as images, sample_writer(paths.SAMPLES_PARQUET) as table:
        for sample in in_order(samples):
            if reject_unlabelled and not has_answer(sample):
                tally.reject([UNLABELLED], sample.sample_id)
                continue
            if tally.has_enough(label_cell(sample), sample.split or "", limit):
                continue
            try:
                image = _decoded(sample, grey_range)
            except UndecodableImage as error:
                _require_rejection(sample, error, undecodable_policy)
                tally.reject(["undecodable"], sample.sample_id, str(error))
                continue
            grey.add(image)
            size, num_channels = common.settle(image.pixels, sample.sample_id)
            odd = oddities(image, size, num_channels)
            if rejecting & set(odd):
                tally.reject([oddity for oddity in odd if oddity in rejecting], sample.sample_id)
                continue
            pixels = resized(image.pixels, size, num_channels, resize)
            table.append(_row(sample, image, odd, pixels, images.count), sample.side)
            images.append(pixels)
            tally.keep(label_cell(sample), sample.split or "", odd, labels_of(sample))
            targets.add(sample)
            image_shape = list(pixels.shape)
        grey.check()
        tally.check(num_samples, max_rejected_share, classes=task != "regression")
        if task == "regression":
            targets.check(tally.kept)
        summary = tally.summary({"image": {"shape": image_shape, **targets.summary(), **grey.summary()}})
    write_json(paths.INGEST_REPORT, summary)
    return summary


def _left_out_in_words(summary: dict[str, Any]) -> str:
    counts = summary.get("left_out", {})
    share = 100 * sum(counts.values()) / max(1, summary["read"])
    return f"; left out as asked: {_listed(counts)} ({share:.1f} %)" if counts else ""


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} for {reason}" for reason, count in sorted(counts.items())) or "none"


def _row(
    sample: RawSample, image: DecodedImage, odd: tuple[str, ...], pixels: np.ndarray, row: int
) -> dict[str, Any]:
    shape = "x".join(map(str, pixels.shape))
    return {
        "sample_id": sample.sample_id,
        "label": label_cell(sample),
        "given_split": sample.split or "",
        "group": sample.group,
        "time": sample.time,
        # The shape belongs to the content: 2 x 8 and 4 x 4 black pixels are different images.
        "content_sha256": hashlib.sha256(f"{shape}:".encode() + pixels.tobytes()).hexdigest(),
        "height_original": image.pixels.shape[0],
        "width_original": image.pixels.shape[1],
        "mode_original": image.mode,
        "oddities": ",".join(odd),
        "row": row,
        "target": math.nan if sample.target is None else sample.target,
        "start": row,
        "length": 1,
        "step_seconds": 0.0,
    }


def _watched(samples: Iterable[RawSample], num_samples: int, console: "Console") -> Iterable[RawSample]:
    """Show a progress bar where somebody can see it."""
    if not console.is_terminal:
        return samples
    from rich.progress import track

    return track(samples, "ingest", total=num_samples, console=console)


def _decoded(sample: RawSample, grey_range: tuple[float, float] | None) -> DecodedImage:
    if isinstance(sample.image, np.ndarray):
        return from_pixels(sample.image)
    return decode(sample.image or b"", grey_range)


def _require_rejection(sample: RawSample, error: UndecodableImage, undecodable_policy: str) -> None:
    if undecodable_policy != "reject":
        raise DataRefused(
            f"{sample.sample_id} cannot be decoded. Expected an intact image. Received: {error}. "
            "Replace the file, or set data.policy.undecodable to reject in params.yaml."
        ) from error


if __name__ == "__main__":
    main()
