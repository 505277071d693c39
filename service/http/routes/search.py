"""`POST /search`: media of any kind, stored points or vectors in; points of any kind out."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from connectors.space import UnifiedSpace
from service.errors import InvalidRequest
from service.http.dependencies import Call, Ready
from service.http.openapi import example_reply, request_body
from service.http.parsing import Form, is_multipart, media_input, parsed, read_form, read_json
from service.http.replies import JsonReply, point_reply, warnings_reply
from service.index.field_paths import check_field
from service.schemas.replies import SearchReply
from service.schemas.requests import FormSearchParams, QueryItem, SearchBody, SearchParams
from service.search.query import QueryMedia, QueryPoint, QuerySource, QueryVector, resolve
from service.search.scoring import explain
from service.search.search import check_depth, search

router = APIRouter(tags=["search"])

MAX_PARTS = 64
EXAMPLES = {
    "a text": {"query": "a dog barks"},
    "pictures of a text": {
        "query": [{"text": "a dog barks"}],
        "target_modalities": ["image"],
        "limit": 5,
    },
    "a stored picture, at night, without cars": {
        "query": [
            {"id": "photo-17", "weight": 1.0},
            {"text": "at night", "weight": 0.5},
            {"text": "cars", "weight": -0.3},
        ],
        "filter": {"must": [{"key": "metadata.album", "match": {"value": "yard"}}]},
    },
    "different hits of two modalities, and why": {
        "query": [{"text": "a storm at sea"}, {"id": "photo-17", "weight": 0.5}],
        "target_modalities": ["image", "audio"],
        "quota": {"image": 6, "audio": 3},
        "dedupe": 0.98,
        "diversity": 0.3,
        "explain": True,
    },
}
FORM = {
    "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
    "texts": {"type": "array", "items": {"type": "string"}},
    "params": {"type": "string", "description": 'JSON: FormSearchParams, such as {"limit": 5}'},
}
REPLY = {
    "hits": [
        {
            "id": "photo-17",
            "modality": "image",
            "score": 0.83,
            "cosine": 0.31,
            "mime": "image/jpeg",
            "name": "dog.jpg",
            "metadata": {"album": "yard"},
            "media_url": "/media/photo-17",
        }
    ],
    "timing_ms": {"queue": 0.2, "decode": 0.4, "inference": 6.1, "index": 2.0, "total": 9.3},
}


@router.post(
    "/search",
    summary="Search with media of any kind",
    response_model=SearchReply,
    responses=example_reply(REPLY),
    openapi_extra=request_body(SearchBody, EXAMPLES, FORM),
)
async def search_points(request: Request, call: Ready) -> Response:
    """Find stored points of every modality with a text, an image, a sound, a point cloud, or several of them.

    `score` (0 to 1) is calibrated for each pair of modalities, so that hits of all of them are ranked
    together; `cosine` is raw. `explain` adds each query part's contribution: the `share`s of a hit add up to
    its cosine. `warnings` names the texts of a query that are longer than their encoder reads, or of which it
    knows no word.
    """
    if is_multipart(request):
        async with read_form(request, MAX_PARTS) as form:
            params = _form_params(form)
            return await _search(call, _form_query(form, params), params)
    body = await read_json(request, SearchBody)
    return await _search(call, await parsed(request, partial(_json_query, body.query)), body)


async def _search(call: Call, query: Sequence[QuerySource], params: SearchParams) -> Response:
    pipeline, timings = call.pipeline, call.timings
    check_depth(params, call.settings.max_results)
    await call.check_collection(params.collection)
    if params.group_by is not None:
        check_field(params.group_by, "group_by")
    for i, target in enumerate(params.target_modalities or ()):
        call.check_modality(target, f"target_modalities[{i}]")
    for target in params.quota if isinstance(params.quota, dict) else ():
        call.check_modality(target, f"quota.{target}")

    async def work(space: UnifiedSpace) -> dict[str, Any]:
        parts = await resolve(pipeline, timings, space, query, params.collection, call.seconds_left())
        hits = []
        for ranked in await search(pipeline, timings, space, parts, params):
            reply = point_reply(ranked.hit.point, params.collection, params.with_vectors)
            reply |= {"score": ranked.score, "cosine": ranked.hit.cosine}
            if params.group_by is not None:
                reply["group"] = ranked.group
            if params.explain and ranked.hit.point.unified is not None:
                reply["explain"] = [asdict(share) for share in explain(parts, ranked.hit.point.unified)]
            hits.append(reply)
        embedded = [(f"query[{i}]", part.embedded) for i, part in enumerate(parts) if part.embedded]
        return {"hits": hits, **warnings_reply(embedded), "timing_ms": timings.milliseconds()}

    return JsonReply(await call.within_deadline(pipeline.in_one_space(work)))


def _form_params(form: Form) -> FormSearchParams:
    unknown = sorted(set(form.fields) - {"params"})
    if unknown:
        raise InvalidRequest(
            f"there is no form field {unknown[0]!r}; there are files, texts and params", unknown[0]
        )
    params = form.json("params", FormSearchParams)
    return params if isinstance(params, FormSearchParams) else FormSearchParams()


def _json_query(items: Sequence[QueryItem]) -> list[QuerySource]:
    """Return the parts of a query in the body's order, media decoded from base64."""
    return [_query_source(item, f"query[{i}]") for i, item in enumerate(items)]


def _query_source(item: QueryItem, name: str) -> QuerySource:
    if item.id is not None:
        return QueryPoint(item.id, item.weight)
    if item.vector is not None:
        return QueryVector(item.vector, item.weight)
    return QueryMedia(media_input(item, name), item.weight)


def _form_query(form: Form, params: FormSearchParams) -> list[QuerySource]:
    weights = params.weights if params.weights is not None else [1.0] * len(form.media)
    if len(weights) != len(form.media):
        raise InvalidRequest(
            f"weights has {len(weights)} entries for {len(form.media)} files and texts", "params.weights"
        )
    query: list[QuerySource] = [
        QueryMedia(media, weight) for media, weight in zip(form.media, weights, strict=True)
    ]
    query += [
        _query_source(item, f"query[{i}]") for i, item in enumerate(params.query, start=len(form.media))
    ]
    if not query:
        raise InvalidRequest("the query is empty: send files, texts or params.query", "query")
    return query
