# ruff: noqa: E501 - a sentence reads best on one line
"""The team pages: departments that share a first name and little else."""

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
from fineproof.demo.english import WEEKDAYS, clock, either, listing, quantity
from fineproof.demo.names import Deck

# What each team does, and the custom by which one shift hands over to the next.
TEAMS = {
    "Calibration Desk": "The reference weight is handed over in person, because a courier once left it in the rain.",
    "Calibration Bench": "The outgoing fitter leaves one gauge unfinished, so that the next one starts by checking the method.",
    "Calibration Archive": "Certificates are counted aloud by two people, since a single missing sheet voids the whole year.",
    "Field Service North": "Vans are swapped with a full tank, because the northern road has no filling station after dusk.",
    "Field Service South": "The diary is read out by telephone, since the southern valleys have no reliable data signal.",
    "Field Service Isles": "Tools are weighed before boarding, because the mail boat charges by the kilogram.",
    "Parts Desk": "Open orders are turned face down, so that the late shift can see at once which of them were touched.",
    "Parts Returns": "A returned part stays sealed until a second person arrives, because claims were lost over broken seals.",
    "Parts Forecast": "The forecast is written in pencil until Thursday, since the foundry confirms its dates on Wednesday night.",
    "Dispatch Day Crew": "Keys are hung on the board by colour, so that a missing lorry is seen from the door.",
    "Dispatch Night Crew": "The last driver rings the porter twice, because a single ring is used for the milk delivery.",
}  # fmt: skip
DUTIES = {
    "Calibration": ("torque gauges", "reference weights", "pressure cells", "thermometers", "dial gauges"),
    "Field": ("first installations", "yearly inspections", "urgent repairs", "operator courses", "site surveys"),
    "Parts": ("price lists", "stock counts", "supplier claims", "drawing changes", "core deposits"),
    "Dispatch": ("customs papers", "lorry rotas", "pallet exchange", "parcel tracing", "cold loads"),
}  # fmt: skip


@dataclass(frozen=True)
class Team:
    """One team and how to reach it."""

    name: str
    twin: str  # the team whose calls it gets
    lead: str
    size: int
    room: str
    duties: tuple[str, ...]
    extension: str
    reply_minutes: int
    opens: int  # minutes after midnight
    deputy: str
    meeting_day: str
    meeting_at: int  # minutes after midnight
    custom: str


def roster(rng: random.Random, people: Deck[str]) -> list[Team]:
    """Eleven teams."""
    sizes, rooms = (
        Deck(rng, range(4, 39)),
        Deck(rng, [f"{f}{n}" for f in "ABCD" for n in range(11, 60)]),
    )
    extensions, replies = Deck(rng, range(3010, 6990)), Deck(rng, range(12, 95))
    opens, meetings = Deck(rng, range(365, 560, 10)), Deck(rng, range(485, 990, 15))
    duties = {field: Deck(rng, combinations(pool, 3)) for field, pool in DUTIES.items()}
    return [
        Team(
            name=name,
            twin=_twin(name),
            lead=people.deal(),
            size=sizes.deal(),
            room=f"room {rooms.deal()}",
            duties=duties[name.split()[0]].deal(),
            extension=f"{extensions.deal()}",
            reply_minutes=replies.deal(),
            opens=opens.deal(),
            deputy=people.deal(),
            meeting_day=rng.choice(WEEKDAYS),
            meeting_at=meetings.deal(),
            custom=custom,
        )
        for name, custom in TEAMS.items()
    ]


def _twin(name: str) -> str:
    family = [other for other in TEAMS if other.split()[0] == name.split()[0]]
    return family[(family.index(name) + 1) % len(family)]


def page(it: Team, rng: random.Random) -> Document:
    """The team's page in the handbook."""
    return document("team", it.name, _people(it, rng), _contact(it, rng), _handover(it, rng))


def _people(it: Team, rng: random.Random) -> Section:
    size = quantity(it.size, "members")
    opening = (
        f"{it.lead} leads {it.name}, a team with {size} that sits in {it.room}.",
        f"With its {size}, {it.name} fills {it.room}; {it.lead} leads it.",
        f"{it.name} has {size}, led by {it.lead} from {it.room}.",
    )
    work = (
        f"Its field is {listing(it.duties)}.",
        f"The team looks after {listing(it.duties)} for every site.",
        f"Whatever concerns {listing(it.duties)} ends up on its table.",
    )
    closing = (
        f"New members spend a fortnight with {it.twin} before they take a case alone.",
        f"Requests that belong to {it.twin} are carried over by hand, and not returned to the sender.",
        f"Cases that {it.twin} passes on are numbered apart, and the oldest is read out each morning.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, work, closing))
    asks = (
        person(either(rng, f"Who heads {it.name}?", f"Who is the boss of {it.name}?"), it.lead),
        number(
            either(
                rng,
                f"How big is the team called {it.name}?",
                f"How many colleagues work for {it.name}?",
            ),
            it.size,
            "members",
            "people",
        ),
        short(
            either(rng, f"Where in the building is {it.name}?", f"Where does one find {it.name}?"),
            it.room,
            it.room.removeprefix("room "),
        ),
        things(
            either(rng, f"What are the tasks of {it.name}?", f"What is {it.name} responsible for?"),
            it.duties,
        ),
    )
    return Section(f"{it.name}: who we are", text, asks)


def _contact(it: Team, rng: random.Random) -> Section:
    reply = quantity(it.reply_minutes, "minutes")
    opening = (
        f"Dial {it.extension} for {it.name}; the line is staffed from {clock(it.opens)}.",
        f"The extension of {it.name} is {it.extension}, answered from {clock(it.opens)} onwards.",
        f"From {clock(it.opens)} somebody at {it.name} picks up extension {it.extension}.",
    )
    urgent = (
        f"An urgent message is answered within {reply}, and a red slip on the door counts as one.",
        f"Call a matter urgent only if it is: the team then drops everything and replies within {reply}.",
        f"Mark what cannot wait with a star, and you will hear from the team within {reply}.",
    )
    stand_in = (
        f"When the lead is away, {it.deputy} stands in, and nobody from {it.twin}.",
        f"{it.deputy} stands in for the lead and passes on calls for {it.twin}.",
        f"The deputy is {it.deputy}, who knows the work of {it.twin} as well.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, urgent, stand_in))
    asks = (
        short(
            either(
                rng,
                f"What is the telephone number of {it.name}?",
                f"Which number reaches {it.name}?",
            ),
            it.extension,
            f"extension {it.extension}",
        ),
        time(f"When does {it.name} start taking calls?", it.opens),
        number(
            either(
                rng,
                f"How fast does {it.name} respond in urgent cases?",
                f"In an emergency, how soon does {it.name} react?",
            ),
            it.reply_minutes,
            "minutes",
        ),
        person(
            either(
                rng,
                f"Who is the deputy head of {it.name}?",
                f"Who replaces the head of {it.name} during holidays?",
            ),
            it.deputy,
        ),
    )
    return Section(f"{it.name}: how to reach us", text, asks)


def _handover(it: Team, rng: random.Random) -> Section:
    opening = (
        f"At {it.name} the change of shift follows an old custom.",
        f"One habit of {it.name} at the end of a shift puzzles newcomers.",
        f"Shifts at {it.name} hand over in a way of their own.",
    )
    meeting = (
        f"The whole team meets on {it.meeting_day} at {clock(it.meeting_at)}, standing up.",
        f"There is one meeting a week, on {it.meeting_day} at {clock(it.meeting_at)}.",
        f"Every {it.meeting_day} at {clock(it.meeting_at)} the team sits down together for half an hour.",
    )
    closing = (
        f"Guests from {it.twin} listen from the door.",
        f"It must be over before {it.twin} needs the room.",
        f"Its minutes fill a single page, which {it.twin} keeps.",
    )
    text = f"{rng.choice(opening)} {it.custom} {rng.choice(meeting)} {rng.choice(closing)}"
    asks = (
        why(
            f"What is peculiar about the handover between shifts at {it.name}, and why?", it.custom
        ),
        time(f"At what time is the weekly meeting of {it.name}?", it.meeting_at),
    )
    return Section(f"{it.name}: handover", text, asks)
