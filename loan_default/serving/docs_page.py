"""The OpenAPI document as a page for people: plain HTML and CSS, without scripts and without outside addresses.

Libraries for this (Swagger UI, Redoc, Scalar) bring megabytes of script, and styles that a strict policy of contents
forbids; what the programmer of a loan system looks for is a table of fields, examples, and errors. What is said is
`openapi`'s.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d8dce2, #3a414b); --soft: light-dark(#f4f6f8, #1d2229);
  --text: light-dark(#1b2129, #e4e8ed); --faint: light-dark(#5a6573, #9aa5b3); --mark: light-dark(#0b5394, #7fb8f0); }
body { margin: 0 auto; padding: 2rem 1.25rem 5rem; max-width: 62rem; color: var(--text);
  background: light-dark(#fff, #14181d); font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { margin: 2.5rem 0 .5rem; font-size: 1.25rem; } h3 { font-size: 1rem; }
p { max-width: 46rem; } a { color: var(--mark); } nav ul { padding-left: 1.2rem; columns: 20rem 2; }
small, .faint { color: var(--faint); }
code, pre { font: .86rem/1.5 ui-monospace, monospace; overflow-wrap: break-word; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: 6px; padding: .8rem; overflow: auto;
  max-height: 26rem; } section { border-top: 1px solid var(--line); margin-top: 1.5rem; }
.method { display: inline-block; min-width: 3.2rem; color: var(--mark); font-weight: 600; }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--faint); font-weight: 600; } td:first-child { white-space: nowrap; } summary { cursor: pointer; }
"""
_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
# The page asks for nothing, runs nothing, sends nothing, and stands in no other page.
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

HEADERS = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

Document = Mapping[str, Any]


def page(document: Document) -> bytes:
    """Write the page of a document."""
    info = document["info"]
    title = f"{info['title']} {info['version']}"
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    parts = [
        f"<h1>{_text(info['title'])}</h1>",
        f"<p class=faint>Release {_text(info['version'])}, model {_text(info['x-model']['name'])} version "
        f"{_text(info['x-model']['version'])} ({_text(info['x-model']['kind'])}). "
        'The same for programs: <a href="openapi.json">openapi.json</a>.</p>',
        f"<p>{_text(info['description'])}</p>",
        *_contents(operations),
        *_fields(document["components"]["schemas"]["Application"]),
        *(line for operation in operations for line in _operation(document, *operation)),
        *_policy(info["x-policy"]),
    ]
    head = f'<meta charset=utf-8><meta name=viewport content="width=device-width"><title>{_text(title)}</title>'
    body = "".join(parts)
    return f"<!doctype html><html lang=en><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>".encode()


def _text(value: Any) -> str:
    return escape(str(value))


def _anchor(path: str, method: str) -> str:
    return f"{method}-{path.strip('/').translate(str.maketrans('/', '-', '{}'))}"


def _contents(operations: list[tuple[str, str, Mapping[str, Any]]]) -> Iterator[str]:
    yield "<nav><ul><li><a href=#fields>Fields of an application</a></li>"
    for path, method, operation in operations:
        yield f"<li><a href=#{_anchor(path, method)}>{_text(operation['summary'])}</a> <code>{_text(path)}</code></li>"
    yield "<li><a href=#policy>Policy of decisions</a></li></ul></nav>"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Write a table of cells that are HTML already."""
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class=table><table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{cells}</table></div>"


def _fields(application: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2 id=fields>Fields of an application</h2><p>{_text(application['description'])}</p>"
    required = set(application["required"])
    rows = (
        (
            f"<code>{_text(name)}</code>",
            "yes" if name in required else "",
            _text(schema.get("x-unit", "")),
            _text(schema["description"]),
            "".join(f"<code>{_text(json.dumps(value))}</code>" for value in schema.get("examples", ())),
        )
        for name, schema in application["properties"].items()
    )
    yield _table(("field", "required", "unit", "what it is", "example"), rows)


def _operation(document: Document, path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section id={_anchor(path, method)}><h2>{_text(operation['summary'])}</h2>"
    token = " <small>needs a token</small>" if operation.get("security") else ""
    yield f"<p><span class=method>{method.upper()}</span><code>{_text(path)}</code>{token}</p>"
    if body := operation.get("requestBody"):
        yield from _examples("Request", body["content"])
    answers = {status: _resolve(document, answer) for status, answer in sorted(operation["responses"].items())}
    rows = (
        (_text(status), _text(answer["description"]), "<br>".join(map(_text, answer["content"])))
        for status, answer in answers.items()
    )
    yield _table(("status", "when", "form"), rows)
    yield from _examples("Answer", operation["responses"]["200"].get("content", {}))
    yield "</section>"


def _resolve(document: Document, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in answer:
        return answer
    _, kind, name = answer["$ref"].removeprefix("#/").split("/")
    return document["components"][kind][name]  # type: ignore[no-any-return]


def _examples(title: str, content: Mapping[str, Any]) -> Iterator[str]:
    for kind, described in content.items():
        named = {name: example["value"] for name, example in described.get("examples", {}).items()}
        single = {"": described["example"]} if "example" in described else {}
        for name, value in {**named, **single}.items():
            text = value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False)
            label = f"{title}, {kind}" + (f": {name.replace('_', ' ')}" if name else "")
            yield f"<details><summary>{_text(label)}</summary><pre>{_text(text)}</pre></details>"


def _policy(policy: Mapping[str, Any]) -> Iterator[str]:
    yield "<section><h2 id=policy>Policy of decisions</h2>"
    yield _table(("rule", "value"), ((f"<code>{_text(name)}</code>", _text(value)) for name, value in policy.items()))
    yield "</section>"
