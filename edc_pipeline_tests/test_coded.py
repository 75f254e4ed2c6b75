from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.coded import MAX_TEXT_LENGTH, Coded, Words
from edc_pipeline.vendors.reading import KEPT, Fault
from edc_pipeline.vendors.together import Spelling


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5)))
def test_a_column_says_what_it_was_made_of(texts: list[str]) -> None:
    words = Words("AAPL", "")
    assert Coded.of(texts, words).tolist() == texts
    assert len(set(words.texts)) == len(words.texts)
    assert words.texts[words.empty] == ""


@pytest.mark.parametrize("text", ["x" * (MAX_TEXT_LENGTH + 1), "A\x00", "a\nb", "\x7f"])
def test_what_an_event_may_not_hold_is_no_word(text: str) -> None:
    words = Words("A")
    with pytest.raises(ValueError, match="is no word"):
        words.number(text)
    assert words.texts == ["A"]


@given(st.lists(st.one_of(st.integers(0, 5), st.tuples(st.integers(0, 2), st.sampled_from("ab")))))
def test_a_spelling_is_looked_up_once(written: list[object]) -> None:
    asked: list[object] = []

    def word_of(one: object) -> str:
        asked.append(one)
        return str(one)

    spelling = Spelling(word_of)
    for read in (written, written[::-1]):
        assert spelling(read).tolist() == [str(one) for one in read]
    assert sorted(map(str, asked)) == sorted(map(str, set(written)))


def test_a_hostile_vendor_does_not_fill_the_memory_with_spellings() -> None:
    spelling = Spelling(str)
    first = spelling.words
    for start in range(0, KEPT + 2000, 1000):
        assert spelling(range(start, start + 1000)).tolist()[-1] == str(start + 999)
    assert spelling.words is not first
    assert len(spelling.words.texts) <= 2000
    with pytest.raises(Fault):
        spelling(["x" * 41])
