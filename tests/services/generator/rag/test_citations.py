from hypothesis import given
from hypothesis import strategies as st

from services.common.contracts.generator import Citation, UsedPassage
from services.generator.rag.citations import cite, words_of


def passage(index: int, text: str) -> UsedPassage:
    return UsedPassage(index=index, id=f"p{index}", doc_id=None, title="", text=text, score=None)


LOGS = passage(1, "Backups run nightly. Audit logs are kept for 47 days in cold storage.")
BILLS = passage(2, "Invoices are kept for ten years. Audit logs have no owner.")


def said(answer: str, citation: Citation) -> str:
    return answer[citation.start : citation.end]


def test_words_copied_from_a_passage_are_cited_with_both_spans() -> None:
    answer = "As far as I know, audit logs are kept for 47 days."
    (citation,) = cite(answer, [BILLS.model_copy(), LOGS])
    assert citation.passage_id == "p1"
    assert said(answer, citation) == "audit logs are kept for 47 days"
    assert citation.quote == "Audit logs are kept for 47 days"
    assert LOGS.text[citation.passage_start : citation.passage_end] == citation.quote


def test_a_one_word_answer_is_cited_where_it_stands() -> None:
    (citation,) = cite("Nightly.", [BILLS, LOGS], question="How often do backups run?")
    assert (citation.index, citation.quote) == (1, "nightly")


def test_stop_words_and_single_words_in_common_cite_nothing() -> None:
    assert cite("These are the ones that we have for you.", [LOGS, BILLS]) == []
    assert cite("A long reply about logs, unlike anything written above.", [LOGS]) == []


def test_repeating_the_question_cites_nothing() -> None:
    question = "For how long are audit logs kept?"
    assert cite("Audit logs are kept.", [LOGS, BILLS], question) == []
    assert cite("Audit logs are kept for 47 days.", [LOGS, BILLS], question) != []


def test_each_sentence_is_cited_from_the_passage_it_comes_from() -> None:
    answer = "Audit logs are kept for 47 days. Invoices are kept for ten years."
    assert [(c.index, said(answer, c)) for c in cite(answer, [LOGS, BILLS])] == [
        (1, "Audit logs are kept for 47 days"),
        (2, "Invoices are kept for ten years"),
    ]


def test_of_two_passages_with_the_same_words_the_higher_ranked_is_cited() -> None:
    (citation,) = cite("kept for 47 days", [LOGS, passage(2, LOGS.text)])
    assert citation.index == 1


def test_a_marker_decides_which_passage_is_cited() -> None:
    copy = passage(2, LOGS.text)
    answer = "Audit logs are kept for 47 days [2]."
    (citation,) = cite(answer, [LOGS, copy])
    assert (citation.index, said(answer, citation)) == (2, "Audit logs are kept for 47 days")


def test_a_marker_without_common_words_cites_the_sentence_and_the_whole_passage() -> None:
    answer = "Hello there. Seven weeks, roughly. [1] Goodbye."
    (citation,) = cite(answer, [LOGS])
    assert said(answer, citation) == "Seven weeks, roughly."
    assert citation.quote == LOGS.text


def test_markers_that_stand_together_are_about_the_same_sentence() -> None:
    answer = "Audit logs exist [1][2]."
    assert {(c.index, said(answer, c)) for c in cite(answer, [LOGS, BILLS])} == {
        (1, "Audit logs"),
        (2, "Audit logs"),
    }


def test_markers_in_one_bracket_are_about_the_same_sentence_too() -> None:
    for listed in ("[1, 2]", "[1,2]", "[2; 1]"):
        assert {c.index for c in cite(f"Audit logs exist {listed}.", [LOGS, BILLS])} == {1, 2}


def test_a_marker_of_no_passage_bears_nothing_and_nothing_is_found_in_its_place() -> None:
    for listed in ("[9]", "[0]", "[8, 9]"):
        assert cite(f"Audit logs are kept for 47 days {listed}.", [LOGS]) == []
    both = cite("Audit logs are kept for 47 days [1][9].", [LOGS])
    assert [citation.index for citation in both] == [1]
    assert cite("[1]", [LOGS]) == []


def test_a_reference_of_the_passage_s_own_and_an_interval_are_no_markers() -> None:
    for own in ("[12]", "[1, 2]"):
        quoting = passage(1, f"The ratio of hospital stays was 1.5 {own} in winter.")
        answer = f"The ratio of hospital stays was 1.5 {own}."
        assert [said(answer, c) for c in cite(answer, [quoting, BILLS])] == [
            "The ratio of hospital stays was 1.5"
        ]


TEXT = st.text(st.sampled_from("abA9 é.,!?[]12\n'’-ßİ"), max_size=80)


@given(TEXT, st.lists(TEXT.filter(bool), max_size=3), TEXT)
def test_spans_always_lie_inside_and_a_found_one_agrees_word_for_word(
    answer: str, texts: list[str], question: str
) -> None:
    passages = [passage(n, text) for n, text in enumerate(texts, 1)]
    for citation in cite(answer, passages, question):
        text = passages[citation.index - 1].text
        assert 0 <= citation.start < citation.end <= len(answer)
        assert 0 <= citation.passage_start < citation.passage_end <= len(text)
        assert citation.quote == text[citation.passage_start : citation.passage_end]
        if citation.quote != text:
            quoted = [word.text for word in words_of(citation.quote)]
            assert quoted == [word.text for word in words_of(said(answer, citation))]
