"""Whether an answer says that it does not know or was not told: who does not do what."""

import re

from services.evaluator.metrics.text import as_typed

_ADVERB = r"(?:(?:actually|directly|explicitly|currently|yet|even|specifically|clearly) )?"
_NEGATED = re.compile(r"\b(\w+?)n't\b|\bcannot\b")
_WHOLE = {"ca": "can", "wo": "will"}

# Who: the one who answers, at the beginning of a clause, for "he said: I cannot" is a quotation.
_SELF = r"(?:^|[.!?;,] |\b(?:but|and|so|as|since|because|that|therefore|however) )(?:i|we)"
_SOURCE = (
    r"(?:(?:the|these|this|those|any|either|my) )(?:of the )?"
    r"(?:(?:\w+ and )?(?:provided|given|above|available|supplied|retrieved|source|following) )?"
    r"(?:passages?|contexts?|texts?|documents?|sources?|articles?|excerpts?|materials?|paragraphs?"
    r"|snippets?|abstracts?|papers?|information|references?|data)"
    r"(?: (?:provided|given|above|here|i (?:have|was given)|you (?:provided|gave)))?"
)
# What: an answer, and what is asked for.
_ANSWER = r"(?:answers?|information|info|details?|mentions?|indications?)"
_IT = (
    r"\b(?:it|this|that|(?:exact |specific |requested |correct )?"
    r"(?:answer|information|info|question|details?|date|year|name|number|reason|value|figure))"
)
_IN = (
    r"(?: (?:in|by|within|from|among|anywhere in|part of|based on|using|with)"
    rf"(?: any of)? {_SOURCE})"
)
_END = r"(?= ?(?:[.,;:!?)]|$))"
_BE = r"(?:is|was|are|were|has been|have been|could be|can be)"

_SAY = (
    r"(?:say|mention|state|specify|indicate|answer|address|discuss|reveal|disclose|tell|explain"
    r"|clarify|identify)"
)
_HOLD = r"(?:contain|provide|include|give|have|offer|cover|hold|supply|present)"
_SAID = (
    r"(?:mentioned|specified|stated|indicated|addressed|discussed|disclosed|answered|answerable)"
)
_GIVEN = r"(?:given|provided|included|contained|found|available|present|covered|clear|there)"

_PATTERNS = (
    # I do not know; I could not find it; I am not able to say; I am not sure
    rf"{_SELF} (?:do|did|can|could|would|will) not {_ADVERB}"
    r"(?:be able to )?(?:know|answer|find|determine|tell|say|provide|identify|locate|confirm|see"
    r"|give|recall|verify|infer|establish|respond)\b",
    rf"{_SELF} (?:do|did) not {_ADVERB}have "
    r"(?:any |the |that |this |an |enough |sufficient |access)",
    rf"{_SELF} (?:am|are|was|were) (?:unable|not {_ADVERB}able) to\b",
    rf"{_SELF} (?:am|are) (?:not (?:sure|certain|aware)|unsure|uncertain)\b",
    rf"{_SELF} (?:have|had|found|find|see) no (?:idea|knowledge|{_ANSWER})\b",
    rf"{_SELF} lack (?:the|enough|sufficient) {_ANSWER}\b",
    r"\bi'?m (?:unable|not (?:able|sure|certain|aware))\b",
    # The passages do not say; they do not contain the answer; none of them says it
    rf"\b{_SOURCE} (?:do|does|did) not {_ADVERB}(?:{_SAY}|seem to {_SAY}|help)\b",
    rf"\b{_SOURCE} (?:do|does|did|seem to|seems to) not {_ADVERB}(?:appear to |seem to )?{_HOLD} "
    rf"(?:\w+ ){{0,4}}?(?:{_ANSWER}|anything|this|that|it|enough|sufficient)\b",
    rf"\b{_SOURCE} {_HOLD}s? no {_ANSWER}\b",
    rf"\b{_SOURCE} (?:is|are) (?:silent|insufficient|not sufficient|not enough)\b",
    r"\b(?:none of (?:the|these|those) (?:\w+ )?\w+|no (?:passages?|documents?|sources?)) "
    rf"(?:{_SAY}|{_HOLD}|answer)s?\b",
    # It is not mentioned; the answer is not given; the answer is not in the passages
    rf"\b{_BE} not {_ADVERB}{_SAID}(?:{_IN}|{_END}| here| anywhere)",
    rf"{_IT} {_BE} not {_ADVERB}{_GIVEN}(?:{_IN}|{_END}| here| to me)",
    rf"\b{_BE} not {_ADVERB}{_GIVEN}{_IN}",
    rf"{_IT} (?:is|was|are|were|does|do) not (?:lie |appear )?(?:in|among|part of) {_SOURCE}",
    rf"{_IT} {_BE} (?:unclear|unknown|missing|absent)(?:{_IN}|{_END})",
    rf"{_IT} (?:can|could) not be (?:answered|determined|found|inferred|established|identified)\b",
    rf"\b(?:can|could) not be (?:answered|determined|found|inferred|established){_IN}",
    rf"{_IT} is unanswerable\b|^unanswerable\b",
    # There is no information; not enough information to say
    rf"\bthere (?:is|was|are|were) (?:no|not any) (?:\w+ )?{_ANSWER}\b(?! content| loss)",
    rf"\bno (?:\w+ )?{_ANSWER} (?:(?:about|on|regarding|concerning|of|as to)(?: [\w'-]+){{1,8}}? )?"
    rf"(?:{_BE} )?(?:given|available|provided|found|mentioned|stated|included)\b",
    rf"\bno {_ANSWER}{_IN}",
    rf"^(?:no|insufficient|not enough) {_ANSWER}"
    rf"(?: (?:about|on|regarding)(?: [\w'-]+){{1,8}})?{_END}",
    r"\b(?:not enough|not sufficient|insufficient|too little) (?:information|context|detail)"
    rf"(?: (?:to|in|is|was|available|provided|given|for|about|here)\b|{_END})",
    # In so many words: N/A; not mentioned
    rf"^(?:n/a|none given|unknown|not known|not sure|not applicable|not {_SAID}|not {_GIVEN})"
    rf"(?:{_IN}|{_END})",
)
_REFUSAL = re.compile("|".join(f"(?:{pattern})" for pattern in _PATTERNS))


def refuses(text: str) -> bool:
    """Whether ``text`` is empty, or says anywhere that it does not know or was not told."""
    plain = _NEGATED.sub(_in_full, as_typed(text).lower())
    plain = " ".join(plain.replace("i'm ", "i am ").split())
    return not plain or _REFUSAL.search(plain) is not None


def _in_full(negated: re.Match[str]) -> str:
    verb = negated[1] or "can"
    return f"{_WHOLE.get(verb, verb)} not"
