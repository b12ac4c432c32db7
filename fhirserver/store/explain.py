"""`_explain`: the plan that MongoDB chose, for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from fhirserver.context import JsonObject
from fhirserver.store.client import Document, translated
from fhirserver.store.order import Sort
from fhirserver.store.resolve import Plan, Resolver

_SHOWN = (
    "stage",
    "indexName",
    "direction",
    "keysExamined",
    "docsExamined",
    "nReturned",
    "works",
    "inputStages",
)


async def explain(
    resolver: Resolver, type: str, plan: Plan, sort: Sort, keys: Sequence[Document], limit: int
) -> JsonObject:
    """What the database did for a query: returned, keysExamined, docsExamined, milliseconds, stages."""
    command: Document
    if plan.is_plain and not keys:
        command = {"find": type, "filter": plan.filter, "sort": dict(sort), "limit": limit}
    else:
        order = [*keys, {"$sort": dict(sort)}, *plan.stages()]
        command = {
            "aggregate": type,
            "pipeline": [{"$match": plan.filter}, *order, {"$limit": limit}],
            "cursor": {},
        }
    with translated():
        answer = await resolver.home.explain(type, command | {"maxTimeMS": resolver.max_ms})
    stats = _stats(answer)
    return {
        "returned": stats.get("nReturned", 0),
        "keysExamined": stats.get("totalKeysExamined", 0),
        "docsExamined": stats.get("totalDocsExamined", 0),
        "milliseconds": stats.get("executionTimeMillis", 0),
        "stages": _stage(stats.get("executionStages", {})),
    }


def parameters(type: str, plans: Sequence[JsonObject]) -> JsonObject:
    """The plans as a Parameters resource; each query is a part, its stages JSON text."""
    parts = [
        {
            "name": "query",
            "part": [
                *({"name": name, "valueInteger": int(plan[name])} for name in list(plan)[:-1]),
                {"name": "stages", "valueString": orjson.dumps(plan["stages"], default=str).decode()},
            ],
        }
        for plan in plans
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": type}, *parts]}


def _stats(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "executionStats" in answer:
        return answer["executionStats"]  # type: ignore[no-any-return]
    stages: list[Mapping[str, Any]] = answer.get("stages", [])
    for stage in stages[:1]:
        for inner in stage.values():
            return inner.get("executionStats", {})  # type: ignore[no-any-return]
    return {}


def _stage(stage: Mapping[str, Any]) -> JsonObject:
    found: JsonObject = {name: stage[name] for name in _SHOWN if name in stage and name != "inputStages"}
    if "indexBounds" in stage:
        found["indexBounds"] = {
            path: [str(b)[:200] for b in bounds[:5]] for path, bounds in stage["indexBounds"].items()
        }
    inputs = [stage["inputStage"]] if "inputStage" in stage else stage.get("inputStages", [])
    if inputs:
        found["inputs"] = [_stage(each) for each in inputs]
    return found
