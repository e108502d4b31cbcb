"""The site pages: nine places with two sites each, which visitors confuse."""

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
from fineproof.demo.names import COMPANY, PLACE_ENDS, PLACES, Deck
from fineproof.demo.surroundings import FORMER, GOODS, KIT_PLACES, POINTS, RULES


@dataclass(frozen=True)
class Site:
    """One place where people work."""

    name: str
    twin: str  # the other site of the same place
    opened: int
    former: str
    staff: int
    head: str
    makes: tuple[str, ...]
    gate_opens: int  # minutes after midnight
    bays: int
    rule: str
    point: str
    alarm_day: str
    alarm_at: int  # minutes after midnight
    kits: tuple[str, ...]


def estate(rng: random.Random, people: Deck[str]) -> list[Site]:
    """Eighteen sites; the two of one place differ only in the second half of the name."""
    years = Deck(rng, range(1948, 2021))
    former, points, rules = Deck(rng, FORMER), Deck(rng, POINTS), Deck(rng, RULES)
    staff, bays = Deck(rng, range(28, 460)), Deck(rng, range(12, 140))
    gates, alarms = Deck(rng, range(330, 480, 5)), Deck(rng, range(545, 960, 5))
    makes = Deck(rng, combinations(GOODS, 3))
    kits = Deck(rng, combinations(KIT_PLACES, 3))
    pairs = [
        [f"{place} {end}" for end in Deck(rng, PLACE_ENDS).hand(2)]
        for place in Deck(rng, PLACES).hand(9)
    ]
    return [
        Site(
            name=name,
            twin=twin,
            opened=years.deal(),
            former=former.deal(),
            staff=staff.deal(),
            head=people.deal(),
            makes=makes.deal(),
            gate_opens=gates.deal(),
            bays=bays.deal(),
            rule=rules.deal(),
            point=points.deal(),
            alarm_day=rng.choice(WEEKDAYS),
            alarm_at=alarms.deal(),
            kits=kits.deal(),
        )
        for one, other in pairs
        for name, twin in ((one, other), (other, one))
    ]


def page(it: Site, rng: random.Random) -> Document:
    """The site's page in the handbook."""
    return document("site", it.name, _overview(it, rng), _access(it, rng), _safety(it, rng))


def _overview(it: Site, rng: random.Random) -> Section:
    staff, makes = quantity(it.staff, "people"), listing(it.makes)
    opening = (
        f"{COMPANY} came to {it.name} in {it.opened} and moved into what had been {it.former}.",
        f"Before {COMPANY} opened {it.name} in {it.opened}, the building was {it.former}.",
        f"{it.name} has been ours since {it.opened}; older neighbours still remember {it.former} "
        f"within the same walls.",
    )
    work = (
        f"Today {staff} work here under {it.head}, and the workshops turn out {makes}.",
        f"{it.head} runs the site. Its {staff} make {makes} for the whole company.",
        f"It is the company's source of {makes}, made by {staff} whom {it.head} leads.",
    )
    closing = (
        f"The canteen serves a hot meal at noon, also to colleagues from {it.twin}.",
        f"Newcomers are shown round on their first morning, and see {it.twin} on the second.",
        f"Post is sorted twice a day, since letters meant for {it.twin} often land here.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, work, closing))
    asks = (
        short(
            either(
                rng,
                f"In which year did the company start at {it.name}?",
                f"Since when has {it.name} been one of our sites?",
            ),
            f"{it.opened}",
        ),
        short(
            either(
                rng,
                f"What was the building at {it.name} used for in earlier days?",
                f"What stood at {it.name} before our time?",
            ),
            it.former,
            it.former.removeprefix("a "),
        ),
        number(
            either(
                rng,
                f"How many employees does {it.name} have?",
                f"What is the workforce of {it.name}?",
            ),
            it.staff,
            "people",
            "employees",
        ),
        person(
            either(rng, f"Who is in charge at {it.name}?", f"Who is the manager of {it.name}?"),
            it.head,
        ),
        things(
            either(
                rng,
                f"What is manufactured at {it.name}?",
                f"Which goods come from {it.name}?",
                f"What are the products of {it.name}?",
            ),
            it.makes,
        ),
    )
    return Section(f"{it.name}: the site", text, asks)


def _access(it: Site, rng: random.Random) -> Section:
    gate, bays = clock(it.gate_opens), quantity(it.bays, "bays")
    opening = (
        f"On working days the gate of {it.name} is unlocked at {gate}; badges from {it.twin} "
        f"work as well.",
        f"At {it.name} the porter opens the gate at {gate} and asks whether you meant {it.twin}.",
        f"Nobody gets into {it.name} before {gate}, when the porter unlocks the gate, and "
        f"the shuttle from {it.twin} waits until then.",
    )
    parking = (
        f"The car park has {bays}, and those by the wall are kept for shared cars.",
        f"There are {bays} for cars, given out by the front office each quarter.",
        f"Drivers share {bays}; whoever comes by bicycle parks under the roof.",
    )
    text = f"{rng.choice(opening)} {rng.choice(parking)} One house rule surprises guests. {it.rule}"
    asks = (
        time(
            either(
                rng,
                f"From what time can staff enter {it.name}?",
                f"How early does {it.name} let people in?",
            ),
            it.gate_opens,
        ),
        number(
            either(
                rng,
                f"How many parking spaces are there at {it.name}?",
                f"For how many vehicles is there space at {it.name}?",
            ),
            it.bays,
            "bays",
            "parking spaces",
        ),
        why(
            either(
                rng,
                f"Which unusual rule applies to guests of {it.name}, and for what reason?",
                f"What must a visitor to {it.name} know beforehand, and why?",
            ),
            it.rule,
        ),
    )
    return Section(f"{it.name}: getting in", text, asks)


def _safety(it: Site, rng: random.Random) -> Section:
    alarm, kits = clock(it.alarm_at), listing(it.kits)
    test = (
        f"The siren at {it.name} is tried every {it.alarm_day} at {alarm}; at any other moment it "
        f"is meant.",
        f"Each {it.alarm_day} at {alarm} the alarm of {it.name} sounds for a test of ten seconds.",
        f"A short tone on {it.alarm_day} at {alarm} is only the weekly test of the alarm at "
        f"{it.name}.",
    )
    gather = (
        f"When it sounds in earnest, leave by the nearest door and gather at {it.point}.",
        f"In an evacuation everyone meets at {it.point}, where the wardens count heads.",
        f"The place to wait for the wardens is {it.point}, whatever the weather.",
    )
    aid = (
        f"First-aid boxes hang in {kits}; those of {it.twin} hang elsewhere.",
        f"For small injuries there are first-aid boxes in {kits}, checked by a medic "
        f"from {it.twin}.",
        f"Boxes with bandages are kept in {kits}; {it.twin} has its own list.",
    )
    text = " ".join(rng.choice(variants) for variants in (test, gather, aid))
    asks = (
        short(
            either(
                rng,
                f"Where do people assemble when {it.name} is evacuated?",
                f"Where does one go if there is a fire at {it.name}?",
            ),
            it.point,
            it.point.removeprefix("the "),
        ),
        time(f"At what time of day is the alarm at {it.name} tested?", it.alarm_at),
        things(
            either(
                rng,
                f"Where are the first-aid boxes at {it.name}?",
                f"Where can one find plasters at {it.name}?",
            ),
            it.kits,
        ),
    )
    return Section(f"{it.name}: in an emergency", text, asks)
