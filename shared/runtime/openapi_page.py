"""An OpenAPI 3.1 document as one HTML page: no script, no style but our own sheet, readable on a phone.

Pure: a dictionary goes in, text comes out. Invariant: everything from the document is escaped.
"""

import copy
import html
import json
import shlex
from collections.abc import Mapping
from datetime import date
from typing import Any

_METHODS = ("get", "post", "put", "patch", "delete")
_SAFE_METHODS = ("get",)
_EXAMPLE_DEPTH_MAX = 6
#: the day of every example; the page puts a day in its place that can still be booked
EXAMPLE_DAY = "2027-05-14"
#: the later of two moments, which must lie after the earlier one
_LATER = {name: f"{EXAMPLE_DAY}T19:00:00Z" for name in ("end", "to")}
_FORMAT_EXAMPLES = {
    "date": EXAMPLE_DAY,
    "date-time": f"{EXAMPLE_DAY}T18:00:00Z",
    "time": "18:30:00",
    "uuid": "3f1c6f0a-7d55-4c7e-9a55-0d6f6a1b2c3d",
    "email": "testa@example.test",
}
_LIMIT_SIGNS = {
    "minimum": "≥",
    "maximum": "≤",
    "exclusiveMinimum": ">",
    "exclusiveMaximum": "<",
    "minLength": "length ≥",
    "maxLength": "length ≤",
}

Schema = Mapping[str, Any]


def render_page(
    document: Schema,
    *,
    css_url: str,
    json_url: str,
    icon_url: str = "data:,",
    examples: Mapping[str, Any] | None = None,
    example_day: date | None = None,
) -> str:
    """The whole page. The default icon is an empty one: without any, browsers ask for /favicon.ico.

    `examples`: values to show, as in `with_examples`. `example_day` stands in the examples where a day is asked for.
    """
    page = _page(with_examples(document, {**_LATER, **(examples or {})}), css_url, json_url, icon_url)
    return page.replace(EXAMPLE_DAY, example_day.isoformat()) if example_day else page


def with_examples(document: Schema, examples: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose shapes, fields and parameters of these names have these examples; those with an example of their own keep it."""
    made = copy.deepcopy(dict(document))
    for name, shape in made.get("components", {}).get("schemas", {}).items():
        _give(shape, name, examples)
        for field, inner in (shape.get("properties") or {}).items():
            _give(inner, field, examples)
    for item in made.get("paths", {}).values():
        for method in _METHODS:
            for parameter in item.get(method, {}).get("parameters") or []:
                _give(parameter.setdefault("schema", {}), parameter["name"], examples)
    return made


def _give(schema: dict[str, Any], name: str, examples: Mapping[str, Any]) -> None:
    if name in examples:
        schema.setdefault("examples", [examples[name]])


def _page(document: Schema, css_url: str, json_url: str, icon_url: str) -> str:
    groups = _by_tag(document)
    info = document.get("info", {})
    schemas = document.get("components", {}).get("schemas", {})
    nav = "".join(_nav_group(tag, operations) for tag, operations in groups.items())
    body = "".join(_tag_section(document, tag, operations) for tag, operations in groups.items())
    shapes = "".join(_schema_section(name, schema) for name, schema in sorted(schemas.items()))
    title = _e(info.get("title", "API"))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title>'
        f'<link rel="icon" href="{_e(icon_url)}"><link rel="stylesheet" href="{_e(css_url)}"></head><body>'
        f'<a class="skip" href="#main">Skip to the operations</a><header><h1>{title} <small>{_e(info.get("version", ""))}</small></h1>'
        f'{_paragraphs(info.get("description", ""))}<p><a href="{_e(json_url)}">OpenAPI document</a> · In the examples, <code>$BASE</code> '
        f'is this server\'s address{_legend(document)}.</p></header><nav aria-label="Operations">{nav}'
        f'<p><a href="#shapes">Shapes</a></p></nav><main id="main">{body}'
        f'<section id="shapes"><h2>Shapes</h2>{shapes}</section></main></body></html>'
    )


def _e(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _inline(text: str) -> str:
    """Escaped, with `code` between backticks."""
    parts = _e(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 and number < len(parts) - 1 else part for number, part in enumerate(parts))


def _paragraphs(text: str | None) -> str:
    blocks = [block.strip() for block in (text or "").split("\n\n")]
    return "".join(f"<p>{_inline(block)}</p>" for block in blocks if block)


def _by_tag(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    groups: dict[str, list[tuple[str, str, Schema]]] = {tag["name"]: [] for tag in document.get("tags") or []}
    for path, item in sorted(document.get("paths", {}).items()):
        for method in _METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["Other"])[0]
                groups.setdefault(tag, []).append((method, path, item[method]))
    return {tag: operations for tag, operations in groups.items() if operations}


def _anchor(method: str, path: str) -> str:
    return _e(f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}")


def _nav_group(tag: str, operations: list[tuple[str, str, Schema]]) -> str:
    links = "".join(
        f'<li><a href="#{_anchor(method, path)}"><span class="method {method}">{method.upper()}</span> {_e(path)}</a></li>'
        for method, path, _ in operations
    )
    return f"<h2>{_e(tag)}</h2><ul>{links}</ul>"


def _tag_section(document: Schema, tag: str, operations: list[tuple[str, str, Schema]]) -> str:
    about = next((item.get("description", "") for item in document.get("tags") or [] if item["name"] == tag), "")
    drawn = "".join(_operation(document, *operation) for operation in operations)
    return f"<section><h2>{_e(tag)}</h2>{_paragraphs(about)}{drawn}</section>"


def _operation(document: Schema, method: str, path: str, operation: Schema) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    media = next(iter(body), "")
    shape = body.get(media, {}).get("schema", {})
    example = json.dumps(example_of(document, shape), indent=2) if media.endswith("json") else ""
    summary = operation.get("summary") or operation.get("operationId", "")
    return (
        f'<article id="{_anchor(method, path)}"><h3><span class="method {method}">{method.upper()}</span> <code>{_e(path)}</code></h3>'
        f"<p><strong>{_e(summary)}</strong>{_needed(document, operation)}</p>"
        f"{_paragraphs(operation.get('description'))}{_parameters(operation)}"
        f"{f'<h4>Body</h4><p>{_e(media)}: {type_of(shape)}</p><pre>{_e(example)}</pre>' if media else ''}"
        f"<h4>Answers</h4>{_responses(operation)}{_curls(document, method, path, operation)}</article>"
    )


def _curls(document: Schema, method: str, path: str, operation: Schema) -> str:
    """One example for each way of saying who asks."""
    ways = _ways(operation) or [""]
    heads = [f"Example, {_way_words(document, way)}" if len(ways) > 1 else "Example" for way in ways]
    return "".join(
        f"<h4>{_e(head)}</h4><pre>{_e(curl_of(document, method, path, operation, way))}</pre>"
        for head, way in zip(heads, ways, strict=True)
    )


def _schemes(document: Schema) -> Mapping[str, Schema]:
    return document.get("components", {}).get("securitySchemes") or {}


def _ways(operation: Schema) -> list[str]:
    """The names of the security schemes of which one is enough."""
    return [name for way in operation.get("security") or [] for name in way]


def _is_cookie(document: Schema, way: str) -> bool:
    return _schemes(document).get(way, {}).get("in") == "cookie"


def _variable(document: Schema, way: str) -> str:
    """The shell's name for what is sent: `$KEY` where there is one kind of key, else one for each scheme."""
    if _is_cookie(document, way):
        return "$SESSION"
    return "$KEY" if len(_schemes(document)) < 2 else f"${way.upper()}"


def _way_words(document: Schema, way: str) -> str:
    return f"with a {way} session" if _is_cookie(document, way) else f"with a {way} token"


def _needed(document: Schema, operation: Schema) -> str:
    ways = _ways(operation)
    if not ways:
        return ""
    if len(_schemes(document)) < 2:
        return " · needs a key"
    told = " or ".join(_way_words(document, way).removeprefix("with ") for way in ways)
    return f" · needs {_e(told)}"


def _legend(document: Schema) -> str:
    """What the variables of the examples stand for."""
    schemes = _schemes(document)
    if len(schemes) < 2:
        return " and <code>$KEY</code> your key"
    told = [f", <code>{_e(_variable(document, way))}</code> {_e(_secret_words(document, way))}" for way in schemes]
    csrf = any(_is_cookie(document, way) for way in schemes)
    return "".join(told) + (", and <code>$CSRF</code> the CSRF token that signing in answers with" if csrf else "")


def _secret_words(document: Schema, way: str) -> str:
    return f"the cookie of a {way} session" if _is_cookie(document, way) else f"the token of a {way}"


def _parameters(operation: Schema) -> str:
    rows = "".join(
        f"<tr><td><code>{_e(item['name'])}</code>{'<em>required</em>' if item.get('required') else ''}</td><td>{_e(item['in'])}</td>"
        f"<td>{type_of(item.get('schema', {}))}</td><td>{_inline(item.get('description') or '')}</td></tr>"
        for item in operation.get("parameters") or []
    )
    head = "<tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>"
    return f'<h4>Parameters</h4><div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>' if rows else ""


def _responses(operation: Schema) -> str:
    drawn = []
    for status, response in sorted(operation.get("responses", {}).items()):
        shapes = [type_of(content.get("schema", {})) for content in response.get("content", {}).values()]
        lines = [line for line in response.get("description", "").split("\n") if line]
        told = "<br>".join(_inline(line) for line in lines)
        kind = "good" if status.startswith(("2", "3")) else "bad"
        drawn.append(f"<dt class={kind}>{_e(status)}</dt><dd>{told} {' · '.join(shapes)}</dd>")
    return f"<dl>{''.join(drawn)}</dl>"


def _schema_section(name: str, schema: Schema) -> str:
    required = set(schema.get("required") or ())
    rows = "".join(
        f"<tr><td><code>{_e(field)}</code>{'<em>required</em>' if field in required else ''}</td><td>{type_of(shape)}</td>"
        f"<td>{_inline(shape.get('description') or '')}</td></tr>"
        for field, shape in (schema.get("properties") or {}).items()
    )
    head = "<tr><th>Field</th><th>Type</th><th>Meaning</th></tr>"
    table = f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>' if rows else f"<p>{type_of(schema)}</p>"
    return f'<article id="shape-{_e(name)}"><h3>{_e(name)}</h3>{_paragraphs(schema.get("description"))}{table}</article>'


def type_of(schema: Schema) -> str:
    """A schema in a few words of HTML; named shapes are links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#shape-{_e(name)}">{_e(name)}</a>'
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return " or ".join(type_of(item) for item in schema[key])
    if "const" in schema:
        return f"<code>{_e(json.dumps(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{_e(json.dumps(item))}</code>" for item in schema["enum"])
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return " or ".join(type_of({**schema, "type": item}) for item in kind)
    if kind == "array":
        return f"list of {type_of(schema.get('items') or {})}"
    return " ".join(part for part in (_e(kind), _e(schema.get("format", "")), _limits(schema)) if part)


def _limits(schema: Schema) -> str:
    told = [f"{_e(sign)} {_e(schema[name])}" for name, sign in _LIMIT_SIGNS.items() if name in schema]
    return f"({', '.join(told)})" if told else ""


def example_of(document: Schema, schema: Schema, depth: int = 0) -> Any:
    """A value of the schema's shape, for people to start from."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example_of(document, document.get("components", {}).get("schemas", {}).get(name, {}), depth + 1)
    if depth > _EXAMPLE_DEPTH_MAX:
        return None
    if schema.get("examples"):
        examples = schema["examples"]
        first = examples[0] if isinstance(examples, list) else next(iter(examples.values()))
        return first.get("value") if isinstance(first, dict) and "value" in first else first
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            chosen = next((item for item in schema[key] if item.get("type") != "null"), schema[key][0])
            return example_of(document, chosen, depth + 1)
    return _plain_example(document, schema, depth)


def _plain_example(document: Schema, schema: Schema, depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), None)
    if kind == "object" or "properties" in schema:
        return _object_example(document, schema, depth)
    if kind == "array":
        return [example_of(document, schema.get("items") or {}, depth + 1)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    if kind == "boolean":
        return True
    return _FORMAT_EXAMPLES.get(schema.get("format", ""), "text") if kind == "string" else None


def _object_example(document: Schema, schema: Schema, depth: int) -> dict[str, Any]:
    """What must be given and what has a value by itself; a field that may be left empty is left out."""
    required = schema.get("required") or ()
    made = {
        name: example_of(document, shape, depth + 1)
        for name, shape in (schema.get("properties") or {}).items()
        if name in required or shape.get("default", True) not in (None, "", [], {})
    }
    return {name: value for name, value in made.items() if value is not None}


def _proof(document: Schema, method: str, way: str) -> list[str]:
    """The options of curl that say who asks. A cookie acts only with the CSRF token beside it."""
    variable = _variable(document, way)
    if not _is_cookie(document, way):
        return [f'-H "Authorization: Bearer {variable}"']
    cookie = [f'-b "{_schemes(document)[way]["name"]}={variable}"']
    return cookie if method in _SAFE_METHODS else [*cookie, '-H "X-CSRF-Token: $CSRF"']


def curl_of(document: Schema, method: str, path: str, operation: Schema, way: str = "") -> str:
    """A curl command for the operation, required query parameters filled in. `way`: a security scheme; the operation's first without one."""
    asked = []
    for item in operation.get("parameters") or []:
        value = str(example_of(document, item.get("schema", {})))
        if item["in"] == "path":
            path = path.replace("{" + item["name"] + "}", value)
        elif item["in"] == "query" and item.get("required"):
            asked.append(f"{item['name']}={value}")
    query = "?" + "&".join(asked) if asked else ""
    lines = [f'curl -X {method.upper()} "$BASE{path}{query}"']
    if ways := _ways(operation):
        lines += _proof(document, method, way or ways[0])
    content = operation.get("requestBody", {}).get("content", {})
    if media := next(iter(content), ""):
        schema = content[media].get("schema", {})
        value = "--data-binary @FILE" if schema.get("format") == "binary" else f"-d {shlex.quote(json.dumps(example_of(document, schema)))}"
        lines += [f"-H {shlex.quote('Content-Type: ' + media)}", value]
    return " \\\n  ".join(lines)
