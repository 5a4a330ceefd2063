"""What Schemathesis, which loads this module, is taught here: a check of our own, and how to make a wish that can be granted.

The check: what the API's description calls well formed is never called malformed. A 400 whose problem names a place (`violations`) is a
complaint about one field, and one field's form can be described. A 400 without a place is about how fields go together (an id or an
Idempotency-Key, one bay or parts), which the description says in words.
"""

import json
import zlib

import schemathesis

from tests.api.hostile import HOURS, moment


@schemathesis.check
def valid_fields_are_understood(ctx, response, case) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    problem = response.json()
    assert not problem.get("violations"), f"A field that fits its description was called malformed: {problem['detail']}"


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """Four valid bodies of five and all valid queries get a time that begins before it ends; nothing else about them is changed."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    body, query = case.body, case.query
    if isinstance(query, dict) and {"start", "end"} <= query.keys():
        query["start"], query["end"] = a_time(json.dumps(query, default=str))
    if isinstance(body, dict):
        told = json.dumps(body, sort_keys=True, default=str)
        if zlib.crc32(told.encode("utf-8", "replace")) % 5:
            make_possible(body, told)


def make_possible(body: dict, told: str) -> None:
    if body.get("start") and body.get("end"):
        body["start"], body["end"] = a_time(told)
    for part in body.get("parts") or ():
        part["start"], part["end"] = a_time(told)
    if body.get("start") and "parts" in body:
        body.pop("parts")
    if body.get("customer") and "customer_id" in body:
        body.pop("customer_id")


def a_time(told: str) -> tuple[str, str]:
    """One hour, or two half hours of four, chosen by what was told, so that a seed repeats it."""
    chosen = zlib.crc32(told.encode("utf-8", "replace")) // 5
    start = HOURS[chosen % len(HOURS)] + chosen // 7 % 8
    return moment(start), moment(start + 1)
