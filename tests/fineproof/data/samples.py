"""Small records in the shapes of the public data sets, made up for the tests.

The shapes follow the data sets' own descriptions: Qasper's and Natural Questions' READMEs and
``datasets`` scripts, BioASQ's task description, and the card of ``enelpol/rag-mini-bioasq``.
"""

from typing import Any


def bioasq() -> dict[str, Any]:
    url = "http://www.ncbi.nlm.nih.gov/pubmed/"
    return {
        "questions": [
            {
                "id": "5e1",
                "type": "factoid",
                "body": "Which gene is mutated in the invented syndrome?",
                "documents": [f"{url}101", f"{url}102"],
                "ideal_answer": ["The gene ABC1 is mutated.", "Mutations of ABC1 cause it."],
                "exact_answer": [["ABC1", "abc-1"], 5],
                "snippets": [
                    {
                        "document": f"{url}101",
                        "text": "ABC1 was mutated in all.",
                        "beginSection": "abstract",
                    },
                    {"document": f"{url}102", "text": "We found ABC1.", "beginSection": "title"},
                    {
                        "document": f"{url}101",
                        "text": "ABC1 was mutated in all.",
                        "beginSection": "abstract",
                    },
                ],
            },
            {
                "id": "5e2",
                "type": "yesno",
                "body": "Is the invented syndrome rare?",
                "documents": [f"{url}102"],
                "ideal_answer": "Yes, it is rare.",
                "exact_answer": "yes",
                "snippets": [{"document": f"{url}102", "text": "The syndrome is rare."}],
            },
            {"id": "5e3", "type": "summary", "body": "No snippets?", "ideal_answer": ["None."]},
        ]
    }


def qasper() -> dict[str, Any]:
    def answer(**said: Any) -> dict[str, Any]:
        blank = {
            "unanswerable": False,
            "extractive_spans": [],
            "yes_no": None,
            "free_form_answer": "",
            "evidence": [],
            "highlighted_evidence": [],
        }
        return {"answer": blank | said, "annotation_id": "a", "worker_id": "w"}

    first, second = "We train on 200 letters.", "The baseline is a linear model."
    return {
        "1909.0001": {
            "title": "Letters",
            "abstract": "We read letters.",
            "full_text": [
                {"section_name": "Data", "paragraphs": [first, ""]},
                {"section_name": "Models", "paragraphs": [second]},
            ],
            "qas": [
                {
                    "question": "How many letters?",
                    "question_id": "q1",
                    "answers": [
                        answer(unanswerable=True),
                        answer(extractive_spans=["200", "letters"], evidence=[first]),
                        answer(
                            free_form_answer="Two hundred", evidence=[first, "FLOAT SELECTED: T1"]
                        ),
                    ],
                },
                {
                    "question": "Is the baseline linear?",
                    "question_id": "q2",
                    "answers": [answer(yes_no=True, evidence=[second])],
                },
                {
                    "question": "Who paid?",
                    "question_id": "q3",
                    "answers": [answer(unanswerable=True)],
                },
                {
                    "question": "What does the table show?",
                    "question_id": "q4",
                    "answers": [answer(free_form_answer="x", evidence=["FLOAT SELECTED: T1"])],
                },
            ],
        }
    }


def turned(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A list of objects as the hub gives it: an object of lists."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def qasper_on_the_hub() -> list[dict[str, Any]]:
    found = []
    for paper_id, paper in qasper().items():
        questions = [qa | {"answers": turned(qa["answers"])} for qa in paper["qas"]]
        found.append(
            {
                "id": paper_id,
                "title": paper["title"],
                "abstract": paper["abstract"],
                "full_text": turned(paper["full_text"]),
                "qas": turned(questions),
            }
        )
    return found


PARAGRAPH = "The Cold War began in 1947 , and it ended in 1991 ( by most accounts ) ."
OTHER = "A second paragraph of the page says that the war was never fought with weapons ."
TOKENS = f"<H1> Cold War </H1> <P> {PARAGRAPH} </P> <P> {OTHER} </P> <Table> 1 2 </Table>".split(
    " "
)


def _at(token: str, after: int = 0) -> int:
    return TOKENS.index(token, after)


def _annotations() -> list[dict[str, Any]]:
    start, year = _at("<P>"), _at("1947")
    return [
        {
            "annotation_id": 1,
            "yes_no_answer": "NONE",
            "long_answer": {
                "start_token": start,
                "end_token": _at("</P>") + 1,
                "candidate_index": 0,
            },
            "short_answers": [{"start_token": year, "end_token": year + 1}],
        },
        {
            "annotation_id": 2,
            "yes_no_answer": "NONE",
            "long_answer": {"start_token": -1, "end_token": -1, "candidate_index": -1},
            "short_answers": [],
        },
    ]


def _candidates() -> list[dict[str, Any]]:
    first, second, table = _at("<P>"), _at("<P>", _at("</P>")), _at("<Table>")
    return [
        {"start_token": first, "end_token": _at("</P>") + 1, "top_level": True},
        {"start_token": second, "end_token": _at("</P>", second) + 1, "top_level": True},
        {"start_token": table, "end_token": _at("</Table>") + 1, "top_level": True},
    ]


URL = "https://en.wikipedia.org//w/index.php?title=Cold_War&amp;oldid=836"


def simplified_nq() -> dict[str, Any]:
    return {
        "example_id": 77,
        "question_text": "when did the cold war begin",
        "document_text": " ".join(TOKENS),
        "document_url": URL,
        "annotations": _annotations(),
        "long_answer_candidates": _candidates(),
    }


def original_nq() -> dict[str, Any]:
    record = simplified_nq()
    del record["document_text"]
    return record | {
        "document_title": "Cold War",
        "document_html": "<html/>",
        "question_tokens": record["question_text"].split(),
        "document_tokens": [
            {"token": token, "html_token": token.startswith("<"), "start_byte": 0, "end_byte": 0}
            for token in TOKENS
        ],
    }


def nq_on_the_hub(*, yes: bool = False) -> dict[str, Any]:
    annotations = [
        {
            "id": str(said["annotation_id"]),
            "long_answer": said["long_answer"],
            "short_answers": {
                "start_token": [] if yes else [s["start_token"] for s in said["short_answers"]],
                "end_token": [] if yes else [s["end_token"] for s in said["short_answers"]],
                "text": [] if yes else ["1947"] * len(said["short_answers"]),
            },
            "yes_no_answer": 1 if yes else -1,
        }
        for said in _annotations()
    ]
    return {
        "id": "77",
        "document": {
            "title": "Cold War",
            "url": URL,
            "html": "<html/>",
            "tokens": {
                "token": TOKENS,
                "is_html": [token.startswith("<") for token in TOKENS],
                "start_byte": [0] * len(TOKENS),
                "end_byte": [0] * len(TOKENS),
            },
        },
        "question": {"text": "when did the cold war begin", "tokens": []},
        "long_answer_candidates": turned(_candidates()),
        "annotations": turned(annotations),
    }
