"""The endpoints of `millrace serve`: records in, answers out, by the model that is served at this moment.

A request keeps the model that it began with to its end: a swap is one assignment, and no reply mixes two. Where a
canary fails, the request is read and answered anew by the first model, whole; who named the canary's version is told.

The file is long since all endpoints share one way of a request, from its body to its answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import msgspec
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, Router

from pipeline.inputs.record_columns import main_field
from pipeline.monitoring.log import PredictionLog
from pipeline.monitoring.measured import Kept
from pipeline.monitoring.rows import ANSWERS, CANARY
from pipeline.monitoring.rows import Request as Logged
from pipeline.serving import bodies, open_inference
from pipeline.serving.batches import Answered, Answers, Batches
from pipeline.serving.bodies import Item, refuse
from pipeline.serving.guard import Guard, Limits, Tokens, read_body
from pipeline.serving.measured import Measured, peak_memory_bytes
from pipeline.serving.scorer import Refused
from pipeline.serving.served import Followed, Served

PAGES = Path(__file__).parent / "pages"
HEAVY_BYTES = 128 << 10
"""A body larger than this is answered in the worker thread."""
HEAVY_PIXELS = 1_000_000
"""So are more pixels: pictures of cameras take tens of milliseconds to decode."""
MOST_CLASSES = 100
"""Answers are counted by class up to so many classes."""
SECURE = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
Read = Callable[[bytes, Request, Served], Awaitable[list[Item]]]


class Json(Response):
    """A reply of JSON."""

    media_type = bodies.JSON

    def render(self, content: Any) -> bytes:
        """Return the bytes of some JSON content."""
        return msgspec.json.encode(content)


class Beside(Protocol):
    """A second model beside the one that answers, see `pipeline.serving.served`."""

    taking_part: Any

    def first_is(self, first: Served) -> None:
        """Take note that another model answers now."""

    def told(self) -> dict[str, Any]:
        """Return what `/model` says of it, as JSON content."""

    def labels(self) -> dict[str, str]:
        """Return what `/metrics` calls it."""

    def close(self) -> None:
        """Let go of everything."""


class Shadow(Beside, Protocol):
    """One that is asked the same afterwards, see `pipeline.serving.shadow`."""

    def offer(
        self, first: Served, asked: Logged, readable: Sequence[bool], log: PredictionLog | None
    ) -> None:
        """Let it answer a request, some time."""


class Canary(Beside, Protocol):
    """One that answers a share of the clients, see `pipeline.serving.served`."""

    share: float

    def answering(self, headers: Mapping[str, str], request: str) -> Served | None:
        """Return the model if it answers this client."""

    def answered(self) -> None:
        """Take note of a request that it has answered."""

    def failed(self, model: Served, request: str, error: Exception) -> None:
        """Take note of a request that it could not answer."""


class Endpoints:
    """Everything that is answered, and the model that answers.

    Attributes:
        served: The model; another one may take its place at any moment.
        followed: What is known of the registry.
        measured: Counts and times.
        log: Where answers are written down; None for nowhere.
        shadow: A model that is asked the same afterwards; None for none.
        canary: A model that answers a share of the clients; None for none.
    """

    def __init__(self, served: Served, limits: Limits, followed: Followed | None = None) -> None:
        self.served, self.limits = served, limits
        self.followed = followed or Followed()
        self.measured = Measured()
        self.log: PredictionLog | None = None
        self.shadow: Shadow | None = None
        self.canary: Canary | None = None
        self._batches, self._of_canary = (
            Batches(lambda count: self.measured.observe("millrace_batch_records", count)) for _ in range(2)
        )  # a worker for each: one that is slow on its example holds nobody else up
        self._since = time.time()

    def application(self, tokens: Tokens | None) -> Guard:
        """Return the application, guarded."""

        def route(
            path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str = "GET"
        ) -> Route:
            return Route(path, endpoint, methods=[method])

        name = "/v2/models/{model}"
        routes = [
            route("/predict", self.predict, "POST"),  # first: routes are tried in order
            route("/", self.page),
            route("/docs", self.docs),
            route("/openapi.json", self.openapi),
            route("/model", self.model),
            route("/metrics", self.metrics),
            route("/health/live", self.live),
            route("/health/ready", self.is_ready),
            route("/invocations", self.invocations, "POST"),
            route("/v2", self.v2_server),
            route("/v2/health/live", self.live),
            route("/v2/health/ready", self.is_ready),
        ]
        for at in (name, name + "/versions/{version}"):
            routes += [
                route(at, self.v2_model),
                route(f"{at}/ready", self.v2_ready),
                route(f"{at}/infer", self.infer, "POST"),
            ]
        told: Any = {HTTPException: self._told}
        # Not `Starlette`: it would answer a bug with a plain text before the guard can.
        self._guard = Guard(ExceptionMiddleware(Router(routes), told), self.limits, self.measured, tokens)
        return self._guard

    async def _told(self, request: Request, error: HTTPException) -> Response:
        if request.url.path == "/invocations":
            code = "INVALID_PARAMETER_VALUE" if error.status_code < 500 else "TEMPORARILY_UNAVAILABLE"
            content = {"error_code": code, "message": error.detail}
        else:
            content = {"error": error.detail}
        return Json(content, error.status_code, error.headers)

    # --- Records in, answers out.

    async def predict(self, request: Request) -> Response:
        """Answer records of our own form."""
        served, items, told = await self._asked(request, self._chosen(request), self._records)
        refused = [
            {"index": index, "place": items[index].place, "problems": one.problems}
            for index, one in enumerate(told)
            if isinstance(one, Refused)
        ]
        content = {"answers": [None if isinstance(one, Refused) else one for one in told], "refused": refused}
        return Json(content, 422 if len(refused) == len(told) else 200, served.headers)

    async def invocations(self, request: Request) -> Response:
        """Answer rows as MLflow's server does: all of them or none."""
        served, answers = await self._all(request, self._chosen(request), self._invocation)
        return Json({"predictions": answers}, headers=served.headers)

    async def infer(self, request: Request) -> Response:
        """Answer tensors of the Open Inference Protocol: all of them or none."""

        async def read(body: bytes, _request: Request, served: Served) -> list[Item]:
            of_json = request.headers.get("inference-header-content-length")
            content.update(open_inference.content_of(body, of_json, served.scorer.state))
            return open_inference.records_of(content, served.scorer.state, self.limits.records)

        content: dict[str, Any] = {}
        served, answers = await self._all(request, self._named(request, self._chosen(request)), read)
        outputs = open_inference.tensors_of(answers)
        asked = content.get("outputs") or []
        if not isinstance(asked, list) or not all(isinstance(one, dict) for one in asked):
            raise refuse(400, "Expected outputs: a list of objects with a name.")
        wanted = {one.get("name") if isinstance(one.get("name"), str) else "" for one in asked}
        if unknown := wanted - {one["name"] for one in outputs}:
            raise refuse(
                400,
                f"There is no output {', '.join(sorted(unknown))[:200]!r}; metadata name those there are.",
            )
        shown = [one for one in outputs if not wanted or one["name"] in wanted]
        named = served.named
        identity = {"id": content["id"]} if isinstance(content.get("id"), str) else {}
        reply = {"model_name": named.name, "model_version": named.version, "outputs": shown}
        return Json(reply | identity, headers=served.headers)

    def _chosen(self, request: Request) -> Served:
        """Return the model that answers this client, and note in which role."""
        scope = request.scope
        canary = self.canary.answering(request.headers, scope["request_id"]) if self.canary else None
        scope["role"] = CANARY if canary else ANSWERS
        return canary or self.served

    async def _all(self, request: Request, served: Served, read: Read) -> tuple[Served, list[dict[str, Any]]]:
        """Return who answered, and an answer for each record of a request.

        Raises:
            HTTPException: 400, one cannot be answered; all that cannot are named.
        """
        served, items, told = await self._asked(request, served, read, whole=True)
        wrong = [
            f"{item.place}: {' '.join(one.problems)}"
            for item, one in zip(items, told, strict=True)
            if isinstance(one, Refused)
        ]
        if wrong:
            raise refuse(400, f"{len(wrong)} of {len(items)} records cannot be answered. {' '.join(wrong)}")
        return served, [one for one in told if not isinstance(one, Refused)]

    async def _asked(
        self, request: Request, served: Served, read: Read, *, whole: bool = False
    ) -> tuple[Served, list[Item], Answers]:
        """Return who answered, the records of a request, and what is said to each; `whole`: all are told or none."""
        log = self.log if self.log and self.log.wants(request.scope["request_id"]) else None
        body = await read_body(request, self.limits)
        try:
            async with asyncio.timeout(self.limits.seconds):
                try:
                    items, said = await self._answered(request, served, read, body, kept=log is not None)
                except HTTPException:
                    raise
                except Exception as error:  # noqa: BLE001  # whatever it is, the client of a canary gets an answer
                    served = self._in_its_place(request, served, error)
                    items, said = await self._answered(request, served, read, body, kept=log is not None)
        except TimeoutError:
            raise refuse(504, f"No answer within {self.limits.seconds:g} s. Send fewer records.") from None
        left = iter(said.answers)
        told = [Refused(item.problems) if item.problems else next(left) for item in items]
        self._count(served, told)
        answered = Answered(told, said.milliseconds)
        self._note(request, served, items, answered, log, body_bytes=len(body), whole=whole)
        return served, items, told

    async def _answered(
        self, request: Request, served: Served, read: Read, body: bytes, *, kept: bool
    ) -> tuple[list[Item], Answered]:
        """Return the records of a body as a model reads them, and what it says; `kept`: with what the log wants."""
        items = await read(body, request, served)
        pixels = 0
        if main_field(served.scorer.state) == "image":
            items, pixels = bodies.weighed(items, self.limits.pixels)
        if kept:
            items = [item._replace(record=Kept(item.record)) for item in items]
        records = [item.record for item in items if not item.problems]
        if not records:
            return items, Answered([], 0.0)
        heavy = len(body) > HEAVY_BYTES or pixels > HEAVY_PIXELS
        canary = self.canary if request.scope["role"] == CANARY else None
        if canary is None:
            return items, await self._batches.answers(served, records, heavy=heavy)
        try:
            said = await self._of_canary.answers(served, records, heavy=heavy)
        except asyncio.CancelledError:  # the time is up
            canary.failed(served, request.scope["request_id"], TimeoutError())
            raise
        canary.answered()
        return items, said

    def _in_its_place(self, request: Request, served: Served, error: Exception) -> Served:
        """Return who answers where a model failed.

        Raises:
            HTTPException: 500, the client wants this one, by its version.
            Exception: The one that was given: nobody stands behind the first model.
        """
        if self.canary is None or request.scope["role"] != CANARY:
            raise error
        self.canary.failed(served, request.scope["request_id"], error)
        if "version" in request.path_params:
            told = (
                f"Version {served.named.version} of {served.named.name} failed on this request; the server's log tells "
                f"more under {request.scope['request_id']}. Without a version the model that is served answers."
            )
            raise refuse(500, told)
        request.scope["role"] = ANSWERS
        return self.served

    def _note(
        self,
        request: Request,
        served: Served,
        items: list[Item],
        answered: Answered,
        log: PredictionLog | None,
        *,
        body_bytes: int,
        whole: bool,
    ) -> None:
        """Write a request down, and let the shadow have it once the reply has left."""
        role = request.scope["role"]
        shadow = self.shadow if self.shadow and self.shadow.taking_part and role == ANSWERS else None
        if log is None and shadow is None:
            return
        try:
            asked = _logged(request, served, items, answered, body_bytes, whole=whole)
            if log:
                log.take(asked)
        except Exception as error:  # noqa: BLE001  # whatever the log cannot take, the client has its answer
            if log:
                log.lose(len(items), error)
        else:
            if shadow:
                readable = [not item.problems for item in items]
                request.scope["after"] = partial(shadow.offer, served, asked, readable, log)

    def _count(self, served: Served, answers: Answers) -> None:
        refused = sum(isinstance(one, Refused) for one in answers)
        self.measured.count("millrace_records_total", len(answers) - refused, outcome="answered")
        self.measured.count("millrace_records_total", refused, outcome="refused")
        many = len(served.scorer.state.get("classes") or ()) > MOST_CLASSES
        for one in answers:
            if isinstance(one, dict) and not many and ("class" in one or "alarm" in one):
                said = one["class"] if "class" in one else f"alarm={one['alarm']}"
                self.measured.count("millrace_answers_total", answer=str(said))

    async def _records(self, body: bytes, request: Request, served: Served) -> list[Item]:
        """Return the records of a body, by its content type."""
        state, most = served.scorer.state, self.limits.records
        field, kind = main_field(state), _media_type(request)
        if kind in (bodies.JSON, ""):
            return bodies.records_in(bodies.json_content(body), most)
        if field == "image" and (kind.startswith("image/") or kind == "application/octet-stream"):
            return bodies.image_in(body)
        if field == "image" and kind == "multipart/form-data":
            return await bodies.form_in(_replayed(request, body), state, most, self.limits.body_bytes)
        if field == "text" and kind == "text/plain":
            return bodies.text_in(body)
        if field != "image" and kind in bodies.TABLES:
            from pipeline.serving.record_files import records_in  # pyarrow and the sources

            rows = records_in(body, bodies.TABLES[kind], state, served.source)
            return await asyncio.to_thread(bodies.items_of, rows, most)
        of_field = {
            "image": "image/* (one image), multipart/form-data (images as files)",
            "text": "text/plain (one text), text/csv",
            "series": "text/csv",
        }
        received = kind[:100]
        raise refuse(415, f"Expected content-type {bodies.JSON}, {of_field[field]}. Received: {received}.")

    async def _invocation(self, body: bytes, request: Request, served: Served) -> list[Item]:
        kind, state, most = _media_type(request), served.scorer.state, self.limits.records
        if kind in (bodies.JSON, ""):
            return bodies.invocation_in(bodies.json_content(body), state, most)
        if main_field(state) != "image" and kind in bodies.TABLES:
            return await self._records(body, request, served)
        raise refuse(415, f"Expected content-type {bodies.JSON} or text/csv. Received: {kind[:100]}.")

    # --- Which model answers.

    async def model(self, _request: Request) -> Response:
        """Tell which model answers, and what it reads."""
        served = self.served
        shadow, canary = self.shadow, self.canary
        beside = {
            "shadow": shadow.told() if shadow else None,
            "canary": canary.told() | {"share": canary.share} if canary else None,
        }
        return Json(served.told | {"following": self.followed.told()} | beside, headers=served.headers)

    async def openapi(self, _request: Request) -> Response:
        """Tell all of it in OpenAPI."""
        return Json(self.served.openapi(self.limits.records))

    async def v2_server(self, _request: Request) -> Response:
        """Tell what speaks the Open Inference Protocol here."""
        return Json({"name": "millrace", "version": version("millrace"), "extensions": []})

    async def v2_model(self, request: Request) -> Response:
        """Tell what the model reads and answers, as tensors."""
        served = self._named(request, self.served)
        named, state = served.named, served.scorer.state
        told = open_inference.metadata(
            named.name, named.version, state, served.example, served.example_answer
        )
        return Json(told)

    async def v2_ready(self, request: Request) -> Response:
        """Tell whether the model answers."""
        named, ready = self._named(request, self.served).named, not self._guard.draining
        return Json({"name": named.name, "ready": ready}, 200 if ready else 503)

    def _named(self, request: Request, chosen: Served) -> Served:
        """Return the model that a path names, which is the chosen one unless it names a version.

        Raises:
            HTTPException: 404, another one is served.
        """
        given, first = request.path_params, self.served
        if "version" not in given and given["model"] == first.named.name:
            return chosen
        canary = self.canary.taking_part if self.canary else None
        for served, role in ((first, ANSWERS), (canary, CANARY)):
            if served and (served.named.name, served.named.version) == (given["model"], given.get("version")):
                request.scope["role"] = role
                return served
        raise refuse(
            404, f"This server answers by {first.named.name}, version {first.named.version or 'none'}."
        )

    def swap(self, served: Served) -> None:
        """Let another model answer from now on."""
        self.served, self._since = served, time.time()
        self.measured.count("millrace_swaps_total")
        for beside in (self.shadow, self.canary):
            if beside is not None:
                beside.first_is(served)

    # --- How the server is.

    async def live(self, _request: Request) -> Response:
        """Tell that the process runs."""
        return Json({"live": True})

    async def is_ready(self, _request: Request) -> Response:
        """Tell whether new requests are welcome."""
        ready = not self._guard.draining
        return Json({"ready": ready}, 200 if ready else 503)

    async def metrics(self, _request: Request) -> Response:
        """Tell counts and times."""
        served, followed = self.served, self.followed
        named = served.named
        labels = {"model": named.name, "version": named.version, "digest": served.digest}
        gauges: list[tuple[str, float, dict[str, str]]] = [
            ("millrace_in_flight", self._guard.in_flight, {}),
            ("millrace_model_info", 1, labels),
            ("millrace_model_loaded_timestamp_seconds", self._since, {}),
            ("millrace_peak_memory_bytes", peak_memory_bytes(), {}),
        ]
        if followed.alias:
            gauges.append(("millrace_registry_heard_timestamp_seconds", followed.heard, {}))
        gauges += [
            ("millrace_beside_info", one.taking_part is not None, one.labels())
            for one in (self.shadow, self.canary)
            if one is not None
        ]
        return PlainTextResponse(
            self.measured.text(gauges), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    # --- Pages for people.

    async def page(self, _request: Request) -> Response:
        """Show the page where a person tries the model."""
        return _page("try.html")

    async def docs(self, _request: Request) -> Response:
        """Show how programs ask."""
        return _page("docs.html")

    def close(self) -> None:
        """Let the worker threads end, and the second models."""
        for one in (self.shadow, self.canary):
            if one is not None:
                one.close()
        self._batches.close()
        self._of_canary.close()


def _logged(
    request: Request, served: Served, items: list[Item], answered: Answered, body_bytes: int, *, whole: bool
) -> Logged:
    model, scope, told = served.logged, request.scope, answered.answers
    problems = [one.problems if isinstance(one, Refused) else () for one in told]
    return Logged(
        model,
        time.time(),
        scope["request_id"],
        1000 * (time.perf_counter() - scope["begun"]),
        [item.record for item in items],
        [None if isinstance(one, Refused) else one for one in told],
        problems,
        withheld=whole and any(problems),
        # Lists of numbers take about four times as much as their JSON.
        held_bytes=4 * body_bytes + len(items) * model.sample_bytes,
        role=scope["role"],
        model_milliseconds=answered.milliseconds,
    )


def _page(name: str) -> Response:
    return HTMLResponse((PAGES / name).read_text(encoding="utf-8"), headers=SECURE)


def _media_type(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return bodies.JSON if kind.endswith("+json") else kind


def _replayed(request: Request, body: bytes) -> Request:
    """Return the request with its body to be read once more."""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(request.scope, receive)  # type: ignore[arg-type]  # a mapping is what is asked for
