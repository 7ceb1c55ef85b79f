from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_retell.api.decoding import decode_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(value=JSON, escaped=st.booleans())
def test_json_is_decoded_as_python_decodes_it(value: Any, escaped: bool) -> None:
    """A faster decoder must not change a value or its type, whichever way a text is written."""
    content = json.dumps(value, ensure_ascii=escaped).encode()
    assert repr(decode_json(content)) == repr(json.loads(content))


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": [1, -0.0, 0.1234567890123456789, 123456789012345678901234567890, 1e999], "a": {"b": null}}',
        b'{"a": "\\ud83d\\ude00 \\ud800 \xc3\xbc"}',
        b'\xef\xbb\xbf{"a": true}',
        b'{"a": [NaN, -Infinity]}',
    ],
    ids=["numbers", "half a pair of surrogates", "byte order mark", "not a number"],
)
def test_all_that_python_decodes_is_decoded(content: bytes) -> None:
    """A page of a thousand calls is not lost over one text."""
    assert repr(decode_json(content)) == repr(json.loads(content))


@pytest.mark.parametrize("content", [b"", b"{", b"[1,]", b'"\x01"', b"\xff", b"{} {}"])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    """The error is the standard library's, which says where it is."""
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        decode_json(content)
