"""Whether the candidates that `select.ensemble` names can answer together."""

from collections.abc import Iterator

from pipeline.fetching.source import KINDS, Source
from pipeline.params.families import FAMILIES, family_of, input_kind
from pipeline.params.values import Params, training_of
from pipeline.runtime.paths import ENSEMBLE

MIRRORED = "training.test_time_flip"


def ensemble_can_answer(params: Params, source: Source) -> Iterator[str]:
    """Yield why the members of an ensemble cannot be averaged, every reason there is."""
    members = params.select.ensemble
    if members is None:
        return
    named = f"Received: ensemble={list(members)}."
    if params.data.task == "anomaly":
        yield (
            "select.ensemble has no meaning for task anomaly: a reconstruction is compared with its window, and the "
            "error of a mean of reconstructions is not the mean of their errors. Expected null. "
            f"{named} Set it to null."
        )
        return
    if ENSEMBLE in params.candidates:
        yield (
            f"candidates.{ENSEMBLE} has the name of what select.ensemble makes. Expected another name. Received: "
            f"a candidate of family {family_of(params.candidates[ENSEMBLE])}. Rename the candidate, or set "
            "select.ensemble: null."
        )
    twice = sorted({name for name in members if members.count(name) > 1})
    if twice:
        yield f"select.ensemble names {', '.join(twice)} twice. Expected each member once. {named} Name others."
    able = [name for name in params.candidates if not FAMILIES[family_of(params.candidates[name])].blind]
    for name in dict.fromkeys(members):
        if name not in params.candidates:
            yield (
                f"select.ensemble names {name}, which is no candidate. Expected some of {', '.join(able)}. {named} "
                "Name others."
            )
        elif name not in able:
            yield (
                f"select.ensemble names {name}, which answers without looking at the sample. Expected some of "
                f"{', '.join(able)}. {named} Leave it out."
            )
    known = [name for name in dict.fromkeys(members) if name in able]
    if len(set(members)) < 2:
        yield f"select.ensemble needs two members or more. {named} Name others, or set it to null."
    yield from _asked_alike(params, source, known)


def _asked_alike(params: Params, source: Source, members: list[str]) -> Iterator[str]:
    """Yield what members that read images are not given alike: one file of them all has one image for them."""
    payload, task = KINDS[source.kind], params.data.task
    members = [
        name for name in members if input_kind(family_of(params.candidates[name]), payload, task) == "image"
    ]
    mirrored = {name: training_of(params, name).test_time_flip for name in members}
    if len(set(mirrored.values())) > 1:
        told = ", ".join(f"{name}: {str(flip).lower()}" for name, flip in mirrored.items())
        yield (
            f"select.ensemble needs members that read images with {MIRRORED} alike, for one model is asked for "
            f"mirrored images or is not. Received: {told}. Set it alike, or name others."
        )
    searched = [name for name in members if MIRRORED in params.candidates[name].tune.space]
    if searched and len(members) > 1:
        yield (
            f"select.ensemble needs members that read images with {MIRRORED} alike, and a search may end with another "
            f"value. Received: candidates.{searched[0]}.tune.space names it. Take it out of the space."
        )
