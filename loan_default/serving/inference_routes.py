"""The routes of the Open Inference Protocol: metadata, readiness, and applications that come as tensors.

Tensors are decoded to rows as any body is, and scored as those (`scoring`). The protocol's own forms are
`inference_protocol`'s. Tested in `serving/test_app.py` and `test_clients.py`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping
from importlib.metadata import version as installed_version

import orjson

from loan_default.serving import inference_protocol
from loan_default.serving.http import Reply, Request, Route
from loan_default.serving.inference_protocol import InferenceRequest
from loan_default.serving.protocol import Refused
from loan_default.serving.scoring import INLINE_BYTES, RequestBody, Scoring, ScoringReply, merge
from loan_default.serving.served_model import ServedModel


class InferenceRoutes:
    """The routes of one model's name, which ask for tokens of callers where they score."""

    def __init__(self, scoring: Scoring, model_name: str) -> None:
        self._scoring, self._model_name = scoring, model_name

    def routes(self, tokens: Mapping[str, str]) -> list[Route]:
        """List the routes."""
        routes = [
            Route("GET", "/v2", self._server_metadata),
            Route("GET", "/v2/health/live", self._live),
            Route("GET", "/v2/health/ready", self._ready),
        ]
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            routes += [
                Route("GET", model, self._model_metadata),
                Route("GET", f"{model}/ready", self._model_ready),
                Route("POST", f"{model}/infer", self._infer, tokens, decides=True),
            ]
        return routes

    def _infer(self, request: Request) -> Reply | Awaitable[Reply]:
        model = self._named(request)
        if len(request.body) <= INLINE_BYTES and b"content-encoding" not in request.headers:
            began, inference = time.perf_counter(), self._read_inference(request)
            if reply := self._scoring.answer_quickly(model, RequestBody(decoded=inference.decoded), request, began):
                return self._tensors(reply, inference)
        return self._scoring.queue.run(self._infer_closely, model, request)

    def _infer_closely(self, model: ServedModel, request: Request) -> Reply:
        began, inference = time.perf_counter(), self._read_inference(request)
        reply = self._scoring.answer_body(model, RequestBody(decoded=inference.decoded), request, began)
        return self._tensors(reply, inference)

    def _read_inference(self, request: Request) -> InferenceRequest:
        length = request.headers.get(inference_protocol.HEADER_LENGTH)
        return inference_protocol.decode(self._scoring.unpacked(request), length, at_most=self._scoring.rows)

    def _tensors(self, reply: Reply, inference: InferenceRequest) -> Reply:
        """Return the same reply in tensors."""
        assert isinstance(reply, ScoringReply)  # else it was refused
        version = ",".join(str(number) for number in sorted(part.model.version for part in reply.parts))
        answer = inference_protocol.encode(
            merge(reply.parts),
            inference,
            model_name=self._model_name,
            version=version,
            reasons_at_most=max(part.model.scorer.policy.reasons_at_most for part in reply.parts),
        )
        headers = (*answer.headers, *(header for header in reply.headers if header[0].startswith(b"x-")))
        return ScoringReply(200, answer.body, headers, reply.parts, reply.first, reply.output, reply.is_logged)

    def _named(self, request: Request) -> ServedModel:
        """Return the version that a path names, which has to be in production."""
        target = inference_protocol.parse_path(request.path)
        assert target is not None  # as it has a route
        if target.name != self._model_name:
            sentence = f"There is no model {target.name!r}; the model is {self._model_name}."
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", sentence)
        model = self._scoring.model
        if target.version not in (None, str(model.version)):
            sentence = f"Version {target.version!r} is not in production; version {model.version} is."
            raise Refused(404, "RESOURCE_DOES_NOT_EXIST", sentence)
        return model

    def _server_metadata(self, request: Request) -> Reply:
        return Reply(200, orjson.dumps(inference_protocol.server_metadata(installed_version("loan-default"))))

    def _live(self, request: Request) -> Reply:
        return Reply(200, orjson.dumps({"live": True}))

    def _ready(self, request: Request) -> Reply:
        ready = self._scoring.is_ready
        return Reply(200 if ready else 503, orjson.dumps({"ready": ready}))

    def _model_metadata(self, request: Request) -> Reply:
        model = self._named(request)
        metadata = inference_protocol.model_metadata(model.scorer, name=self._model_name, version=model.version)
        return Reply(200, orjson.dumps(metadata))

    def _model_ready(self, request: Request) -> Reply:
        self._named(request)
        return Reply(200, orjson.dumps({"name": self._model_name, "ready": True}))
