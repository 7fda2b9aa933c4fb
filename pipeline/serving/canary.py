"""A second model that answers a share of the clients; all others, and all where it fails, get the first one's answers.

Which clients is a hash of their key alone: the same on every server and after every restart, whatever versions both
sides have, and a larger share holds everybody of a smaller one. A reply is of one model, whole.
"""

import sys
import threading
import traceback
from collections.abc import Mapping

from pipeline.monitoring.log import is_sampled
from pipeline.monitoring.rows import CANARY
from pipeline.runtime.errors import say
from pipeline.serving.measured import Measured
from pipeline.serving.model_folder import Named, source_of
from pipeline.serving.served import Beside, Served

CLIENT = "x-client-id"
"""Header that says who asks; without it the id of the request counts, of which each may fall to another side."""
GOLDEN_SECONDS = 60.0
"""So often it gives its golden answers again, and at once after it failed."""
FAILED_IN_A_ROW = 10
"""So many requests that it could not answer, one after the other, and it is left out."""
OUTCOMES = ("answered", "failed", "too slow")


def is_of_canary(key: str, share: float) -> bool:
    """Return whether a client is of the share that the canary answers.

    Salted: the log takes its sample by a hash of the request's id, which would hold the canary's requests alone.
    """
    return is_sampled(f"canary {key}", share)


class Canary(Beside[Served]):
    """The second model, and which clients it answers.

    Args:
        asked: See `Beside`.
        first: The model that answers the others.
        share: Of the clients, (0, 1).
        measured: Counts its requests.
        alias: See `Beside`.
    """

    role = CANARY

    def __init__(self, asked: str, first: Served, share: float, measured: Measured, alias: str = "") -> None:
        super().__init__(asked, first, alias)
        self.share, self._measured = share, measured
        self.does = f"answers a share of {share:g} of the clients"
        self._in_a_row = 0
        self._look, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._look_again, name="golden", daemon=True).start()

    def answering(self, headers: Mapping[str, str], request: str) -> Served | None:
        """Return the model if it answers this client.

        Args:
            headers: Of the request.
            request: Its id.
        """
        model = self.taking_part
        if model is None:
            return None
        return model if is_of_canary(headers.get(CLIENT) or request, self.share) else None

    def answered(self) -> None:
        """Take note of a request that it has answered."""
        self._in_a_row = 0
        self._measured.count("millrace_canary_requests_total", outcome="answered")

    def failed(self, model: Served, request: str, error: Exception) -> None:
        """Take note of a request that it could not answer; after some in a row it is left out."""
        slow = isinstance(error, TimeoutError)
        self._measured.count("millrace_canary_requests_total", outcome="too slow" if slow else "failed")
        told = "was too slow" if slow else "failed, and the first model answers"
        detail = "" if slow else "\n" + "".join(traceback.format_exception(error))
        say(f"serve: canary {model.named.called} {told}: request {request}{detail}", file=sys.stderr)
        if model is not self.taking_part:
            return
        self._in_a_row += 1
        if self._in_a_row >= FAILED_IN_A_ROW:
            self._put(None, f"it failed on {FAILED_IN_A_ROW} requests in a row")
        else:
            self.problem = f"It {'was too slow' if slow else 'failed'} on request {request}."
            self._look.set()

    def _open(self, named: Named) -> Served:
        self._in_a_row = 0
        return Served(named, source_of(named.folder))

    def _end(self, model: Served) -> None:
        """Nothing to do: requests that began with it hold on to it."""

    def close(self) -> None:
        """Let the thread end that looks."""
        self._ended.set()
        self._look.set()

    def _look_again(self) -> None:
        while not self._ended.is_set():
            self._look.wait(GOLDEN_SECONDS)
            self._look.clear()
            self.look()

    def look(self) -> None:
        """Let it give its golden answers once more; without them it is left out."""
        model = self._opened
        if model is None:
            return
        try:
            golden = model.scorer.gives_golden_answers()
        except Exception as error:  # noqa: BLE001  # what could not be checked is not fine
            say(f"serve: canary {model.named.called} cannot be checked: {error}", file=sys.stderr)
            golden = False
        if not golden and model is self._opened:
            self._put(None, "it no longer gives its golden answers")
