"""The incident reports: each kind happened twice at each of two sites, never for one reason."""

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
    time,
    why,
)
from fineproof.demo.english import MONTHS, capital, clock, either, listing, quantity, with_article
from fineproof.demo.mishaps import MISHAPS, Mishap, Story
from fineproof.demo.names import Deck


@dataclass(frozen=True)
class Incident:
    """One thing that went wrong, once."""

    mishap: Mishap
    site: str
    day: int
    period: str  # `May 2019`
    twin: str  # the other period in which it happened there
    at: int  # minutes after midnight
    reporter: str
    lost_minutes: int
    story: Story
    investigator: str
    report: str
    cost: int  # crowns
    actions: tuple[str, ...]
    due_days: int

    @property
    def name(self) -> str:
        """How people refer to it: `power cut at Eskby Mill in March 2021`."""
        return f"{self.mishap.name} at {self.site} in {self.period}"


def log(rng: random.Random, people: Deck[str], sites: list[str]) -> list[Incident]:
    """Twenty-four incidents at `sites`."""
    reports, minutes = Deck(rng, range(2040, 9980)), Deck(rng, range(17, 400))
    costs, times = Deck(rng, range(1240, 98000, 130)), Deck(rng, range(365, 1190))
    due = Deck(rng, range(9, 99))
    periods = Deck(rng, [f"{month} {year}" for month in MONTHS for year in range(2018, 2025)])
    incidents = []
    for mishap in MISHAPS:
        stories, actions = Deck(rng, mishap.stories), Deck(rng, combinations(mishap.actions, 3))
        pairs = [(site, *periods.hand(2)) for site in Deck(rng, sites).hand(2)]
        for site, period, twin in [
            (site, *dates) for site, one, other in pairs for dates in ((one, other), (other, one))
        ]:
            incidents.append(
                Incident(
                    mishap=mishap,
                    site=site,
                    day=rng.randint(1, 28),
                    period=period,
                    twin=twin,
                    at=times.deal(),
                    reporter=people.deal(),
                    lost_minutes=minutes.deal(),
                    story=stories.deal(),
                    investigator=people.deal(),
                    report=f"IR-{reports.deal()}",
                    cost=costs.deal(),
                    actions=actions.deal(),
                    due_days=due.deal(),
                )
            )
    return incidents


def page(it: Incident, rng: random.Random) -> Document:
    """The report of the incident, as the handbook keeps it."""
    return document("incident", it.name, _event(it, rng), _cause(it, rng), _aftermath(it, rng))


def _event(it: Incident, rng: random.Random) -> Section:
    date, at = f"{it.day} {it.period}", clock(it.at)
    lost = quantity(it.lost_minutes, "minutes")
    opening = (
        f"On {date}, at {at}, {it.reporter} noticed {it.mishap.found} at {it.site}.",
        f"The first sign of trouble at {it.site} was {it.mishap.found}, reported by {it.reporter} "
        f"on {date} at {at}.",
        f"It began at {it.site} on {date} with {it.mishap.found}; {it.reporter} raised the alarm "
        f"at {at}.",
    )
    course = (
        f"The shift followed the plan for {with_article(it.mishap.name)}, here as in {it.twin}.",
        f"Nobody was hurt by the {it.mishap.name}; for that of {it.twin}, see its own page.",
        f"As for any {it.mishap.name}, the area was roped off, as it was in {it.twin}.",
    )
    loss = (
        f"Until work resumed, {it.mishap.lost} for {lost}.",
        f"In all, {it.mishap.lost} for {lost}, and the late shift made up part of the time.",
        f"For {lost} {it.mishap.lost}; then the all-clear was given.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, course, loss))
    asks = (
        time(
            either(
                rng,
                f"At what time was the {it.name} discovered?",
                f"When in the day did the {it.name} come to light?",
            ),
            it.at,
        ),
        person(
            either(
                rng,
                f"Who first reported the {it.name}?",
                f"Who was the first to see the {it.name}?",
            ),
            it.reporter,
        ),
        number(
            either(
                rng,
                f"How long did the {it.name} interrupt work?",
                f"How much working time was lost through the {it.name}?",
            ),
            it.lost_minutes,
            "minutes",
        ),
    )
    return Section(_title(it, "what happened"), text, asks)


def _cause(it: Incident, rng: random.Random) -> Section:
    opening = (
        f"{it.investigator} looked into the {it.name} and filed report {it.report}.",
        f"Report {it.report}, written by {it.investigator}, deals with the {it.name}.",
        f"The {it.name} was investigated by {it.investigator}; the findings are in report "
        f"{it.report}.",
    )
    finding = (
        "The finding was plain.",
        "Two other explanations were ruled out.",
        "Interviews with the shift led to the answer.",
    )
    closing = (
        f"It is filed beside the report of {it.twin}.",
        f"The case of {it.twin} was a different one.",
        f"A link with {it.twin} was not found.",
    )
    text = (
        f"{rng.choice(opening)} {rng.choice(finding)} {it.story.cause} {it.story.change} "
        f"{rng.choice(closing)}"
    )
    explain = rng.choice(
        (
            why(f"What was the cause of the {it.name}?", it.story.cause),
            why(f"Why did the {it.name} come about, and what is done differently now?",
                it.story.cause, it.story.change),
        )
    )  # fmt: skip
    asks = (
        explain,
        person(
            either(
                rng,
                f"Who investigated the {it.name}?",
                f"Who found out the reason for the {it.name}?",
            ),
            it.investigator,
        ),
        short(
            either(
                rng,
                f"Which report covers the {it.name}?",
                f"Under which number is the {it.name} on file?",
            ),
            it.report,
            f"report {it.report}",
        ),
    )
    return Section(_title(it, "cause"), text, asks)


def _aftermath(it: Incident, rng: random.Random) -> Section:
    cost, due = quantity(it.cost, "crowns"), quantity(it.due_days, "days")
    opening = (
        f"The bill for the {it.name} came to {cost}; the sum for {it.twin} is stated elsewhere.",
        f"Damage and lost hours after the {it.name} were put at {cost}, to be kept "
        f"apart from those of {it.twin}.",
        f"In the books the {it.name} stands at {cost}, on a page next to that of {it.twin}.",
    )
    actions = (
        f"The site was given {listing(it.actions)}.",
        f"As a precaution the site received {listing(it.actions)}.",
        f"The works council asked for {listing(it.actions)}, and got them.",
    )
    deadline = (
        f"Everything had to be in place within {due}, and an inspector came to see it.",
        f"{it.site} was allowed {due} to finish, with a visit at the end.",
        f"The deadline was set at {due}; the fire officer signed the list when it was met.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, actions, deadline))
    asks = (
        number(
            either(
                rng,
                f"What did the {it.name} cost the company?",
                f"How expensive was the {it.name}?",
            ),
            it.cost,
            "crowns",
        ),
        things(
            either(
                rng,
                f"Which three things did the site get after the {it.name}?",
                f"Which three precautions were taken after the {it.name}?",
                f"Which three things were bought or introduced because of the {it.name}?",
            ),
            it.actions,
        ),
        number(
            f"How long did the site have to carry out the measures after the {it.name}?",
            it.due_days,
            "days",
        ),
    )
    return Section(_title(it, "afterwards"), text, asks)


def _title(it: Incident, part: str) -> str:
    return f"{capital(it.mishap.name)} at {it.site}, {it.period}: {part}"
