"""Thirty nights of a source that grows, drifts, breaks and recovers: what happens before each, and what must come of it."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.growing_source import pictures
from tests.e2e.month_world import World

DECIDED = ("promoted", "refused")
"""What the gate says of a model trained on new rows; which of the two, the rows decide."""


@dataclass(frozen=True)
class Night:
    """One night.

    Attributes:
        story: What happens, in words.
        before: Makes it happen.
        codes: Exit codes of `millrace retrain` that are right.
        outcomes: Outcomes in the history that are right.
        kill_after: Kill -9 this many seconds after that step was finished, then call again; None for no kill.
        options: Of `millrace retrain`.
        tracking_uri: Where MLflow is this night; "" for the project's own store.
        fired: A trigger that must have fired.
    """

    story: str
    before: Callable[[World], None] = lambda _: None
    codes: tuple[int, ...] = (0, 3)
    outcomes: tuple[str, ...] = DECIDED
    kill_after: tuple[str, float] | None = None
    options: tuple[str, ...] = ()
    tracking_uri: str = ""
    fired: str = ""


def grown(count: int) -> Callable[[World], None]:
    """Return what adds `count` pictures."""
    return lambda world: world.grow(count)


def served(mode: str) -> Callable[[World], None]:
    """Return what changes how the source answers."""

    def change(world: World) -> None:
        world.source.mode = mode

    return change


def both(*parts: Callable[[World], None]) -> Callable[[World], None]:
    """Return what does one after the other."""

    def change(world: World) -> None:
        for part in parts:
            part(world)

    return change


def bright(first: int, count: int, brightness: float) -> Callable[[World], None]:
    """Return what adds pictures of another brightness."""

    def change(world: World) -> None:
        world.source.files |= pictures(first, count, brightness=brightness)

    return change


def calm(story: str, before: Callable[[World], None] = lambda _: None) -> Night:
    """Return a night on which there is nothing to do."""
    return Night(story, before, codes=(0,), outcomes=("nothing_to_do",))


def killed(step: str, seconds: float, count: int = 30) -> Night:
    """Return a night that is killed `seconds` after a step, and called again."""
    return Night(f"{count} rows more; kill -9 behind {step!r}", grown(count), kill_after=(step, seconds))


PLAN = (
    Night("the first night", codes=(0,), outcomes=("promoted",), fired="never_trained"),
    calm("nothing new"),
    Night("60 rows more", grown(60), fired="new_rows"),
    Night("the source is down", both(grown(30), served("down")), codes=(69,), outcomes=("source_down",)),
    Night("it is back", served("good"), fired="new_rows"),
    Night("half a file", both(grown(30), served("truncated")), codes=(69,), outcomes=("source_down",)),
    Night("a login page", served("login"), codes=(65,), outcomes=("data_refused",)),
    Night("it is back", served("good"), fired="new_rows"),
    calm("5 rows more, fewer than are worth it", grown(5)),
    Night("pictures a little brighter", bright(20_000, 60, 8.0), fired="drift"),
    Night("pictures far too bright", bright(30_000, 60, 70.0), codes=(65,), outcomes=("data_refused",)),
    Night("still there", codes=(65,), outcomes=("data_refused",)),
    calm("they are gone again", lambda world: world.drop("/30")),
    Night("a third of the rows is gone", lambda world: world.hide(), codes=(65,), outcomes=("data_refused",)),
    calm("they are back", lambda world: world.unhide()),
    Night(
        "the git remote declines",
        both(grown(30), lambda world: world.decline("closed for tonight")),
        codes=(75,),
        outcomes=("paused",),
    ),
    Night("the git remote takes it", lambda world: world.accept(), fired="new_rows"),
    Night("somebody else pushes first", both(grown(30), lambda world: world.others_push()), fired="new_rows"),
    Night("MLflow is down", grown(30), codes=(69,), outcomes=("paused",), tracking_uri="http://127.0.0.1:9"),
    Night("MLflow is back", fired="new_rows"),
    killed("edits", 0.1),
    killed("prepare", 0.3),
    killed("refresh", 2.0),
    killed("look", 15.0),
    killed("train", 0.0),
    killed("commit", 0.1),
    killed("git push", 6.0),
    Night("somebody edits params.yaml", lambda world: world.edit(), codes=(75,), outcomes=("paused",)),
    Night("and commits it", lambda world: world.commit_edit(), fired="params"),
    Night("8 days later, 5 rows more", both(grown(5), lambda world: world.sleep(8)), fired="age"),
)
