"""A key that a vendor says again, in whatever spelling, is taken out of words and frames."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.hidden_key import HiddenKey

KEY = 'hush"5e/1a+x=finn:se\\cret&2'


def escaped(key: str, style: str) -> str:
    """As .NET writes it into JSON."""
    return "".join(c if c.isalnum() else f"\\u{ord(c):{style}}" for c in key)


def spellings(key: str) -> list[str]:
    raw = key.encode()
    basic, of_address = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()
    in_json = json.dumps(key)[1:-1]
    return [
        *(key, quote(key), quote(key, safe=""), quote_plus(key)),
        *(in_json, in_json.replace("/", "\\/"), escaped(key, "04X"), escaped(key, "04x")),
        *(basic, of_address, basic.rstrip("="), json.dumps(basic)[1:-1].replace("/", "\\/")),
        *(quote(basic, safe=""), quote(of_address)),
    ]


PLAIN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize("key", [KEY, PLAIN, "id-7:s3cr3t", '+/=&?%"\\', "ÄÖÜ-ßßß-key", "a+b/c=d+"])
def test_each_spelling_is_taken_out(key: str) -> None:
    hidden = HiddenKey(key)
    for spelled in spellings(key):
        words = f"your token {spelled} is bad"
        assert hidden.in_words(words) == "your token <key> is bad", spelled
        frame = hidden.in_frame(words.encode())
        assert len(frame) == len(words.encode())
        assert re.fullmatch(rb"your token \*+ is bad", frame), spelled
        assert hidden.in_frames([b"x", words.encode()]) == [b"x", frame]


def test_each_part_is_taken_out_and_short_ones_stay() -> None:
    hidden = HiddenKey("user-1:secret-22:ab")
    assert hidden.in_words("user-1 and secret%2D22, ab") == "<key> and <key>, ab"
    assert HiddenKey("ab:cd").in_words("ab:cd abcd") == "ab:cd abcd"
    assert HiddenKey("").in_frame(b"anything") == b"anything"
    assert HiddenKey("simulated", but="simulated").in_words("simulated") == "simulated"


def test_it_is_not_shown() -> None:
    assert KEY not in repr(HiddenKey(KEY))


@given(st.text(min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_whatever_the_key_it_is_gone_and_the_length_stays(
    key: str, before: str, after: str
) -> None:
    hidden = HiddenKey(key)
    said = f"{before}{json.dumps(key, ensure_ascii=False)[1:-1]}{after}{key}"
    frame = said.encode(errors="surrogatepass")
    left = hidden.in_frame(frame)
    assert len(left) == len(frame)
    if "*" not in key:
        assert key.encode(errors="surrogatepass") not in left
    assert hidden.in_words(key) == "<key>"


@pytest.mark.parametrize(("key", "searches"), [(PLAIN, 2), ("id-123456:secret789", 4), (KEY, 4)])
def test_a_frame_is_searched_few_times(key: str, searches: int) -> None:
    assert len(HiddenKey(key)._runs) <= searches
