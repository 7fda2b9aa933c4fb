"""The terminal as rich sees it, on which texts out of people's data have no power."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from pipeline.runtime.errors import visible


class Terminal(Console):
    """A console that shows what controls a terminal as its code: a class may be called `ESC ] 0 ; title BEL`.

    Colours and cursors are rich's own, beside the texts.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return a text with its markup, harmless before its width is measured."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, their texts harmless."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)
