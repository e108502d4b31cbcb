"""A refusal is told from an answer that merely says no, or not."""

import pytest

from services.evaluator.metrics.refusals import refuses


@pytest.mark.parametrize(
    "said",
    [
        "",
        " \n",
        "I don't know.",
        "I do not know the answer to this question.",
        "I’m sorry, but I don’t have enough information to answer.",
        "I'm unable to answer this question.",
        "I am not sure.",
        "I am not able to determine this from the passages.",
        "Sorry, I could not find the answer.",
        "I couldn't find it in the passages.",
        "I can’t answer that.",
        "I cannot answer this question based on the passages.",
        "I do not have that information",
        "I don't have access to this",
        "I have no idea.",
        "We cannot determine this.",
        "Unfortunately, we do not know.",
        "The passages do not contain the answer.",
        "The provided passages do not mention this.",
        "The passages provided do not say who wrote it.",
        "Based on the text, the answer is not given.",
        "The context doesn't provide that information.",
        "The text does not say.",
        "The given context does not contain any information about the city.",
        "The article does not specify the number of participants.",
        "The passages contain no information about it.",
        "None of the passages says it.",
        "None of the documents mention a date.",
        "No passage mentions it.",
        "It isn't mentioned in the passages.",
        "The author is not mentioned in the text.",
        "The exact date is not given.",
        "The information is not available.",
        "The name was not provided in the context.",
        "The answer is not in the passages",
        "The answer cannot be determined from the passages.",
        "This question can't be answered.",
        "It is unclear from the passages.",
        "There is not enough information in the passages.",
        "There is no information about this in the text.",
        "No information is given about the price.",
        "No information about this is available.",
        "Insufficient information.",
        "Not enough information to answer.",
        "No answer.",
        "N/A",
        "Unanswerable",
        "Not mentioned.",
        "Not specified in the passages.",
    ],
)
def test_an_answer_that_knows_nothing_is_a_refusal(said: str) -> None:
    assert refuses(said)
    assert refuses(said.replace("'", "’"))


@pytest.mark.parametrize(
    "said",
    [
        "Oslo.",
        "No.",
        "No, it is not.",
        "None of them.",
        "The drug is not given by mouth but by injection.",
        "The defendant was not provided counsel until 1963.",
        "No information was lost in the transmission.",
        "He said: I cannot tell a lie.",
        "Insufficient information processing in the amygdala causes it.",
        "The vaccine was not available until 1955.",
        "Penicillin could not be found in shops before the war.",
        "The gene is not found in mice.",
        "Its mechanism is not clear to biologists, who favour two models.",
        "The treaty does not cover Greenland.",
        "The model does not have an encoder.",
        "They do not provide attention to the decoder.",
        "No evidence was found that it is effective.",
        "The answer is 42.",
        "Information cannot travel faster than light.",
        "He did not know that she was his sister.",
        "The word is not included in the dictionary of 1828.",
        "The unknown soldier.",
        "Do not give it to children under two.",
        "The dataset does not contain personal names.",
    ],
)
def test_an_answer_that_says_no_or_not_is_none(said: str) -> None:
    assert not refuses(said)
