import json
from base64 import b64decode

import numpy as np
import pytest

from services.common.errors import InvalidRequest, TooLarge
from services.retriever.lines import MAX_LINE, PassageLines, Row


def read(body: bytes, *, block: int = 7, max_bytes: int = 2**30) -> list[Row]:
    with PassageLines(max_bytes=max_bytes, dimensions=lambda: 3) as lines:
        for start in range(0, len(body), block):
            lines.feed(body[start : start + block])
        lines.finish()
        return list(lines.rows())


def test_lines_are_read_however_the_body_is_cut() -> None:
    body = b'{"id":"a","text":"one"}\n{"id":"b","text":"zwei \xc3\xbc","title":"T"}'
    expected = [Row(1, "a", "a", "", "one", "{}"), Row(2, "b", "b", "T", "zwei ü", "{}")]
    for block in (1, 2, 5, 23, 24, 1000):
        assert read(body, block=block) == expected


def test_empty_lines_are_passed_over_but_counted() -> None:
    rows = read(b'\n{"id":"a","text":"x"}\r\n\n  \n{"id":"b","text":"y"}\n\n')
    assert [(row.line, row.id) for row in rows] == [(2, "a"), (5, "b")]


def test_a_document_id_and_attributes_are_kept() -> None:
    [row] = read(b'{"id":"a","doc_id":"d","text":"x","attributes":{"year":2019,"ok":true,"s":"t"}}')
    assert row.doc_id == "d"
    assert json.loads(row.attributes) == {"year": 2019.0, "ok": True, "s": "t"}


def test_a_vector_is_kept_at_length_one() -> None:
    row, other = read(b'{"id":"a","text":"x","embedding":[0,3,-4.0]}\n{"id":"b","text":"y"}')
    assert row.vector is not None
    kept = np.frombuffer(b64decode(row.vector), np.float16)
    assert kept == pytest.approx([0, 0.6, -0.8], abs=1e-3)
    assert other.vector is None


BAD = [
    (b"{", "not valid JSON"),
    (b"[]", "an object"),
    (b'"text"', "an object"),
    (b"null", "an object"),
    (b"\xff\xfe", "not valid JSON"),
    (b'{"id":"a"}', "'text' is missing"),
    (b'{"text":"a"}', "'id' is missing"),
    (b'{"id":"a","text":"x","tittle":"y"}', "unknown field 'tittle'"),
    (b'{"id":"","text":"x"}', "'id'"),
    (b'{"id":"a\\u0000","text":"x"}', "'id'"),
    (b'{"id":7,"text":"x"}', "'id'"),
    (b'{"id":"a","text":""}', "'text'"),
    (b'{"id":"a","text":"  \\t"}', "'text' is blank"),
    (b'{"id":"a","text":"x\\u0000y"}', "NUL"),
    (b'{"id":"a","text":"x","title":"\\u0000"}', "NUL"),
    (b'{"id":"a","text":"\\ud800"}', "not valid JSON"),
    (b'{"id":"a","text":"x","attributes":{"k":"\\u0000"}}', "NUL"),
    (b'{"id":"a","text":"x","attributes":{"\\u0000":"v"}}', "NUL"),
    (b'{"id":"a","text":"x","attributes":{"k":[1]}}', "attributes.k"),
    (b'{"id":"a","text":"x","attributes":{"k":null}}', "attributes.k"),
    (b'{"id":"a","text":"x","attributes":{"k":1e999}}', "attributes.k"),
    (b'{"id":"a","text":"x","attributes":{"k":NaN}}', "attributes.k"),
    (b'{"id":"a","text":"x","attributes":{"":1}}', "1 to 64"),
    (b'{"id":"a","text":"x","attributes":{"doc_id":"d"}}', "'doc_id'"),
    (b'{"id":"a","text":"x","attributes":{"k":"' + b"v" * 513 + b'"}}', "512"),
    (
        b'{"id":"a","text":"x","attributes":'
        + json.dumps({f"k{n}": n for n in range(17)}).encode()
        + b"}",
        "16",
    ),
    (b'{"id":"a","text":"' + b"x" * 100_001 + b'"}', "'text'"),
    (b'{"id":"a","text":"' + b"x" * MAX_LINE + b'"}', "longer than"),
    (b"[" * 100_000, "not valid JSON"),
    (b'{"id":"a","text":"x","embedding":[1,2]}', "2 numbers, the store's vectors 3"),
    (b'{"id":"a","text":"x","embedding":[]}', "at least 1 item"),
    (b'{"id":"a","text":"x","embedding":[0,0,-0.0]}', "zero"),
    (b'{"id":"a","text":"x","embedding":[1,2,NaN]}', "'embedding.2'"),
    (b'{"id":"a","text":"x","embedding":[1,-Infinity,2]}', "'embedding.1'"),
    (b'{"id":"a","text":"x","embedding":[1e999,1,2]}', "'embedding.0'"),
    (b'{"id":"a","text":"x","embedding":["1",2,3]}', "'embedding.0'"),
    (b'{"id":"a","text":"x","embedding":[true,2,3]}', "'embedding.0'"),
    (b'{"id":"a","text":"x","embedding":[null,2,3]}', "'embedding.0'"),
    (b'{"id":"a","text":"x","embedding":"AAAA"}', "'embedding'"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named_with_what_is_wrong(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(b'{"id":"good","text":"x"}\n\n' + line + b"\n", block=65_536)
    assert caught.value.message.startswith("Line 3: ")
    assert reason in caught.value.message


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    with PassageLines(max_bytes=2**40, dimensions=lambda: 3) as lines:
        lines.feed(b"x" * MAX_LINE)
        with pytest.raises(InvalidRequest, match="Line 1: longer than"):
            lines.feed(b"x")


def test_a_body_over_the_limit_is_refused() -> None:
    with pytest.raises(TooLarge):
        read(b'{"id":"a","text":"x"}\n' * 100, max_bytes=1_000)


@pytest.mark.parametrize("body", [b"", b"\n", b" \n\r\n"])
def test_a_body_without_passages_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no passages"):
        read(body)
