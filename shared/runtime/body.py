"""What came in the body, decoded strictly: JSON into structs, forms into named values.

What it is for: `StrictRequest` makes Litestar decode `data: SomeStruct` in one strict step; `read_form` and `decode_form` do the
same for pages without JavaScript.
What it is not: the size limit (the web edge's) or a judge of what the values mean.
Invariant: what is malformed, ambiguous (a key twice), not UTF-8, holds NUL, or a number past 64 bits becomes a 400 with a sentence,
never a guess. Litestar's own form parser is not used: it keeps the last 1,024 bodies, passwords included, in a cache.
"""

import json
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import Request

from shared.runtime.problems import Problem, Violation, bad_request, of_decode_error, of_status

T = TypeVar("T")

FORM_FIELDS_MAX = 200
INT_DIGITS_MAX = 18
FORM_MEDIA = "application/x-www-form-urlencoded"
OCTETS_MEDIA = "application/octet-stream"


class _Ambiguous(ValueError):
    pass


def _pairs(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Ambiguous(f"The body names the key {twice[:60]!r} twice.")


def _integer(digits: str) -> int:
    if len(digits) > INT_DIGITS_MAX + 1:
        raise _Ambiguous("The body holds a number that is too large.")
    return 0


_strict = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_float=float)


def decode_json(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """One JSON value of the decoder's type, or a 400 problem with the JSON path. Costs about 5 µs for a booking."""
    try:
        value = _decoded(raw, decoder)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise of_decode_error(error) from None
    except (RecursionError, OverflowError, _Ambiguous):
        raise bad_request("The body is nested too deeply or holds a number that is too large.") from None
    if b"\\u0000" in raw:
        raise bad_request("The body holds a NUL character, which no text here may hold.")
    try:
        _strict.decode(raw.decode())
    except _Ambiguous as error:
        raise bad_request(str(error)) from None
    except (RecursionError, ValueError):
        raise bad_request("The body is nested too deeply or is not plain JSON.") from None
    return value


def _whole(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


_whole_numbers = json.JSONDecoder(parse_int=lambda digits: _integer(digits) or int(digits), parse_float=_whole)


def _decoded(raw: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
    # To JSON 26.0 is as good an integer as 26, and the API's schema says integer.
    return msgspec.convert(_whole_numbers.decode(raw.decode()), decoder.type)


class StrictRequest(Request):
    """Litestar's request, with `data: T` decoded strictly into T. Set it as the app's `request_class`."""

    async def json(self) -> Any:
        """The body as the type that the handler's `data` names (anything, if it names none)."""
        media, options = self.content_type
        if media != "application/json" and not media.endswith("+json"):
            raise of_status(415, "Send the body as application/json.")
        if options.get("charset", "utf-8").lower().strip("\"'") not in ("utf-8", "utf8"):
            raise of_status(415, "Send the body as application/json in UTF-8.")
        decoder = _decoder_of(self.route_handler)
        return decode_json(await self.body(), decoder)


_DECODER_KEY = "clubos.body_decoder"


def _decoder_of(handler: Any) -> msgspec.json.Decoder:
    # Kept in the handler's own opt, so it lives and dies with the app.
    decoder = handler.opt.get(_DECODER_KEY)
    if decoder is None:
        field = handler.parsed_fn_signature.parameters.get("data")
        decoder = handler.opt[_DECODER_KEY] = msgspec.json.Decoder(field.annotation if field else Any)
    return decoder


class Form:
    """The fields of one form in order; a name may occur more than once."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def all(self, name: str) -> list[str]:
        """Every value of the name, in order."""
        return [value for key, value in self.pairs if key == name]

    def one(self, name: str, default: str = "") -> str:
        """The only value of the name; 400 if it occurs twice."""
        values = self.all(name)
        if len(values) > 1:
            raise bad_request(f"The form names the field {name[:60]!r} twice.", [Violation("Given twice.", name)])
        return values[0] if values else default


def parse_form(raw: bytes) -> Form:
    """A urlencoded body as a Form, or a 400 problem."""
    if not raw:
        return Form([])
    parts = raw.split(b"&")
    if len(parts) > FORM_FIELDS_MAX:
        raise bad_request(f"The form has more than {FORM_FIELDS_MAX} fields.")
    pairs = []
    for part in parts:
        name, _, value = part.partition(b"=")
        try:
            pair = (_text(name), _text(value))
        except UnicodeDecodeError:
            raise bad_request("The form is not valid UTF-8 text.") from None
        if "\x00" in pair[0] or "\x00" in pair[1]:
            raise bad_request("The form holds a NUL character, which no text here may hold.")
        pairs.append(pair)
    return Form(pairs)


def _text(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")


async def read_form(request: Request) -> Form:
    """The request's form (urlencoded only; anything else with a body is 415). Read once, kept in the scope."""
    kept = request.scope.get("clubos.form")
    if kept is None:
        raw = await request.body()
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if raw and media != FORM_MEDIA:
            raise of_status(415, f"Send the form as {FORM_MEDIA}.")
        kept = request.scope["clubos.form"] = parse_form(raw)
    return kept


async def read_octets(request: Request) -> bytes:
    """The request's body as it is (application/octet-stream only; anything else is 415)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != OCTETS_MEDIA:
        raise of_status(415, f"Send the body as {OCTETS_MEDIA}.")
    return await request.body()


def decode_form(form: Form, struct: type[T], *, ignore: tuple[str, ...] = ("csrf_token",)) -> T:
    """The form as a struct: list fields take every value, others the only one; empty optional fields fall to their default.

    Unknown names, names twice and values that do not fit are 400 problems whose violations carry the field's name.
    """
    values: dict[str, Any] = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in dict.fromkeys(name for name, _ in form.pairs):
        if name in ignore:
            continue
        field = fields.get(name)
        if field is None:
            raise bad_request(f"The form has no field {name[:60]!r}.", [Violation("Unknown field.", name[:60])])
        if _is_list(field.type):
            values[name] = form.all(name)
        elif (value := form.one(name)) or field.required:
            values[name] = value
    try:
        return msgspec.convert(values, struct, strict=False)
    except msgspec.ValidationError as error:
        raise _of_form_error(error) from None


def _is_list(kind: Any) -> bool:
    return isinstance(msgspec.inspect.type_info(kind), msgspec.inspect.ListType | msgspec.inspect.SetType | msgspec.inspect.VarTupleType)


def _of_form_error(error: msgspec.ValidationError) -> Problem:
    problem = of_decode_error(error, "form")
    told = [Violation(item.message, item.path.removeprefix("$").removeprefix(".")) for item in problem.violations]
    return bad_request(problem.detail, told)
