"""The policy pages: every topic is settled once for each of two groups, differently."""

import random
from dataclasses import dataclass
from itertools import combinations

from fineproof.demo.document import (
    Document,
    Section,
    document,
    number,
    person,
    short,
    things,
    why,
)
from fineproof.demo.english import capital, either, listing, quantity
from fineproof.demo.names import Deck
from fineproof.demo.topics import EXCEPTIONS, PAPERS, TOPICS, Topic


@dataclass(frozen=True)
class Policy:
    """One topic as it applies to one group of employees."""

    topic: Topic
    group: str
    twin: str  # the group that the same topic is settled differently for
    amount: int  # in the topic's unit
    approver: str
    since: int
    deadline_days: int
    papers: tuple[str, ...]
    form: str
    reason: str
    review_months: int

    @property
    def name(self) -> str:
        """`Night work for furnace crews`"""
        return f"{self.topic.name} for {self.group}"


def rules(rng: random.Random, people: Deck[str]) -> list[Policy]:
    """Eighteen policies, two to a topic."""
    years, deadlines = Deck(rng, range(1994, 2024)), Deck(rng, range(5, 75))
    papers, forms = Deck(rng, combinations(PAPERS, 3)), Deck(rng, range(102, 988))
    reviews = Deck(rng, range(7, 60))
    policies = []
    for topic in TOPICS:
        amounts = Deck(rng, topic.amounts)
        one, other = topic.groups
        pairs = ((one, other), (other, one))
        for (group, twin), reason in zip(pairs, topic.reasons, strict=True):
            policies.append(
                Policy(
                    topic=topic,
                    group=group,
                    twin=twin,
                    amount=amounts.deal(),
                    approver=people.deal(),
                    since=years.deal(),
                    deadline_days=deadlines.deal(),
                    papers=papers.deal(),
                    form=f"P{forms.deal()}",
                    reason=reason,
                    review_months=reviews.deal(),
                )
            )
    return policies


def page(it: Policy, rng: random.Random) -> Document:
    """The policy's page in the handbook."""
    return document("policy", it.name, _terms(it, rng), _claim(it, rng), _limits(it, rng))


def _terms(it: Policy, rng: random.Random) -> Section:
    topic = it.topic.name.lower()
    terms = it.topic.grants.format(who=it.group, amount=quantity(it.amount, it.topic.unit))
    opening = (
        f"Under this policy, {terms}.",
        f"{capital(terms)}.",
        f"The rule is short: {terms}.",
    )
    history = (
        f"It has been in force since {it.since} and does not extend to {it.twin}.",
        f"The present wording dates from {it.since} and does not hold for {it.twin}.",
        f"Introduced in {it.since}, it binds every site; {it.twin} have other terms.",
    )
    approval = (
        f"{it.approver} approves requests from {it.group} about {topic} "
        f"and explains any refusal in writing.",
        f"Requests from {it.group} about {topic} are decided by {it.approver}, "
        f"as a rule within a week.",
        f"Questions from {it.group} on {topic} go to {it.approver}, "
        f"whose signature settles the matter.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, history, approval))
    asks = (
        number(it.topic.asks.format(who=it.group), it.amount, it.topic.unit),
        person(
            either(
                rng,
                f"Who decides on {topic} for {it.group}?",
                f"Whom do {it.group} ask for {topic}?",
            ),
            it.approver,
        ),
        short(
            either(
                rng,
                f"Since when have the rules on {topic} for {it.group} been valid?",
                f"From which year is the rule on {topic} for {it.group}?",
            ),
            f"{it.since}",
        ),
    )
    return Section(f"{it.name}: terms", text, asks)


def _claim(it: Policy, rng: random.Random) -> Section:
    topic, days = it.topic.name.lower(), quantity(it.deadline_days, "days")
    opening = (
        f"{capital(it.group)} apply for {topic} on form {it.form}; the pad for "
        f"{it.twin} looks much the same.",
        f"The form for {topic} is {it.form} where {it.group} are concerned; {it.twin} have "
        f"another.",
        f"To make use of {topic}, {it.group} fill in form {it.form} and not the one for {it.twin}.",
    )
    papers = (
        f"Attach {listing(it.papers)}.",
        f"It is accepted only together with {listing(it.papers)}.",
        f"Three things go with it: {listing(it.papers)}.",
    )
    deadline = (
        f"Hand everything in within {days} of the event; after that, the claim needs a letter.",
        f"The office must have the papers no later than {days} afterwards and confirms by post.",
        f"Whoever waits longer than {days} has to ask the works council for leave to claim.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, papers, deadline))
    asks = (
        short(
            either(
                rng,
                f"Which form do {it.group} need for {topic}?",
                f"On what paper do {it.group} claim {topic}?",
            ),
            it.form,
            f"form {it.form}",
        ),
        things(
            either(
                rng,
                f"What must {it.group} enclose with a claim for {topic}?",
                f"Which documents do {it.group} need to prove a claim to {topic}?",
            ),
            it.papers,
        ),
        number(
            either(
                rng,
                f"How much time do {it.group} have to submit a claim for {topic}?",
                f"How soon must {it.group} have claimed {topic}?",
            ),
            it.deadline_days,
            "days",
        ),
    )
    return Section(f"{it.name}: how to claim", text, asks)


def _limits(it: Policy, rng: random.Random) -> Section:
    topic, months = it.topic.name.lower(), quantity(it.review_months, "months")
    opening = (
        f"One special provision on {topic} holds for {it.group}.",
        f"For {it.group} the policy on {topic} adds a provision of its own.",
        f"A peculiarity of {topic} concerns {it.group} alone.",
    )
    review = (
        f"The policy is looked at again every {months}, and changes are posted up.",
        f"A review is held every {months}; anyone may send in a proposal.",
        f"Every {months} the works council goes through the figures.",
    )
    neighbours = (
        f"None of this concerns {it.twin}.",
        f"Other limits are set for {it.twin}.",
        f"For {it.twin}, see their own page.",
    )
    text = (
        f"{rng.choice(opening)} {it.reason} {rng.choice(EXCEPTIONS)} {rng.choice(review)} "
        f"{rng.choice(neighbours)}"
    )
    asks = (
        why(
            either(
                rng,
                f"What special provision on {topic} applies to {it.group}, and why?",
                f"In what way are {it.group} a special case for {topic}, and why?",
            ),
            it.reason,
        ),
        number(
            either(
                rng,
                f"How often is the policy on {topic} for {it.group} reviewed?",
                f"How much time passes between revisions of {topic} for {it.group}?",
            ),
            it.review_months,
            "months",
        ),
    )
    return Section(f"{it.name}: limits", text, asks)
