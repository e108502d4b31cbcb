"""The product pages: three machines to a family, alike in name and never in number."""

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
from fineproof.demo.english import capital, either, listing, quantity, with_article
from fineproof.demo.families import FAMILIES, Family, Fault
from fineproof.demo.names import COMPANY, PRODUCT_STEMS, Deck

AGENTS = ("citric acid", "soda lye", "acetic acid", "washing soda", "ammonia")
LAPSES = (
    "ends if a seal is broken",
    "covers labour but not carriage",
    "passes to the next owner",
    "leaves out worn parts",
    "starts again for replaced parts",
    "is doubled for schools",
)


@dataclass(frozen=True)
class Product:
    """One machine of the catalogue."""

    name: str
    twin: str  # the family member it is mistaken for
    family: Family
    rate: int  # in the family's unit
    watts: int
    owner: str
    code: str
    service_hours: int
    agent: str
    agent_percent: int
    parts: tuple[str, ...]
    fault: Fault
    warranty_months: int


def catalogue(rng: random.Random, people: Deck[str]) -> list[Product]:
    """Thirty-nine products: each family is a base model, its `E` variant and a bigger sibling."""
    stems = Deck(rng, PRODUCT_STEMS)
    codes = Deck(rng, range(1100, 9900))
    hours = Deck(rng, range(120, 1900, 20))
    agents = Deck(rng, [(agent, share) for agent in AGENTS for share in range(2, 12)])
    months = Deck(rng, range(13, 72))
    products = []
    for family in FAMILIES:
        stem = stems.deal()
        base = 10 * rng.randint(11, 48)
        rates, watts = Deck(rng, family.rates), Deck(rng, family.watts)
        parts = Deck(rng, combinations(family.parts, 3))
        faults = Deck(rng, family.faults)
        models = (f"{base}", f"{base}E", f"{base + rng.choice((20, 30, 50))}")
        for model, twin in zip(models, models[1:] + models[:1], strict=True):
            agent, percent = agents.deal()
            products.append(
                Product(
                    name=f"{stem} {model}",
                    twin=f"{stem} {twin}",
                    family=family,
                    rate=rates.deal(),
                    watts=watts.deal(),
                    owner=people.deal(),
                    code=f"{stem[0]}K-{codes.deal()}",
                    service_hours=hours.deal(),
                    agent=agent,
                    agent_percent=percent,
                    parts=parts.deal(),
                    fault=faults.deal(),
                    warranty_months=months.deal(),
                )
            )
    return products


def page(it: Product, rng: random.Random) -> Document:
    """The product's page in the handbook."""
    return document("product", it.name, _glance(it, rng), _care(it, rng), _trouble(it, rng))


def _glance(it: Product, rng: random.Random) -> Section:
    name, noun, use = it.name, it.family.noun, it.family.use
    does, rate, power = it.family.does, quantity(it.rate, it.family.unit), quantity(it.watts, "W")
    opening = (
        f"The {name} is our {noun} for {use}.",
        f"{COMPANY} builds the {name}, {with_article(noun)}, for {use}.",
        f"Made for {use}, the {name} is {with_article(noun)}.",
    )
    figures = (
        f"It {does} {rate} and is rated at {power}.",
        f"Rated at {power}, it {does} {rate} once it has settled.",
        f"In the standard setting it {does} {rate}; the rating plate says {power}.",
    )
    keeper = (
        f"{it.owner}, the product owner, decides on changes; spare parts are "
        f"ordered under {it.code}.",
        f"Order it under {it.code}. {it.owner} owns the product and signs off every change to it.",
        f"The order code is {it.code}. Suggestions reach its product owner, {it.owner}.",
    )
    confusion = (
        f"From the outside it cannot be told from the {it.twin}.",
        f"It shares its housing with the {it.twin}, but not the drive.",
        f"Do not mistake it for the {it.twin}, which has other figures.",
    )
    text = " ".join(rng.choice(variants) for variants in (opening, figures, keeper, confusion))
    asks = (
        number(it.family.asks.format(name=name), it.rate, it.family.unit),
        number(
            either(
                rng,
                f"How much electrical power does the {name} need?",
                f"What is the wattage of the {name}?",
            ),
            it.watts,
            "W",
            "watts",
        ),
        person(
            either(
                rng,
                f"Who is responsible for the {name} as a product?",
                f"Whose product is the {name}?",
                f"Who has the last word on changes to the {name}?",
            ),
            it.owner,
        ),
        short(
            either(
                rng,
                f"Which code does one quote when ordering the {name}?",
                f"What does a customer write on the slip to order the {name}?",
            ),
            it.code,
        ),
    )
    return Section(f"{name}: at a glance", text, asks)


def _care(it: Product, rng: random.Random) -> Section:
    name, surface = it.name, it.family.surface
    hours, parts = quantity(it.service_hours, "hours"), listing(it.parts)
    agent = f"{it.agent} at {it.agent_percent}%"
    interval = (
        f"Have the {name} serviced after every {hours} of running, sooner in dusty rooms.",
        f"The counter of the {name} asks for a service every {hours}; it can be silenced "
        f"for a week.",
        f"A service of the {name} is due each time {hours} of use have passed.",
    )
    kit = (
        f"The kit for it contains {parts}, not what the {it.twin} takes.",
        f"Bring the service kit: {parts}; that of the {it.twin} does not fit.",
        f"In the bag for that job are {parts}; the bag of the {it.twin} looks the same.",
    )
    cleaning = (
        f"Between services, wipe the {surface} with {agent} and let it dry.",
        f"Only {agent} may be used on the {surface}; stronger stuff dulls it.",
        f"To clean the {surface}, use {agent} on a soft cloth and rinse it twice.",
    )
    text = " ".join(rng.choice(variants) for variants in (interval, kit, cleaning))
    asks = (
        number(
            either(
                rng,
                f"How long may the {name} run between two services?",
                f"After how much running time must the {name} be maintained?",
                f"After how many hours does the {name} need attention from an engineer?",
            ),
            it.service_hours,
            "hours",
        ),
        things(
            either(
                rng,
                f"What is in the service kit of the {name}?",
                f"Which parts does a fitter change on the {name} as a matter of routine?",
                f"What wears out on the {name} and comes as a set?",
                f"Which spares does the regular maintenance of the {name} call for?",
            ),
            it.parts,
        ),
        short(
            either(
                rng,
                f"What should be used to clean the {surface} of the {name}?",
                f"Which liquid is safe for the {surface} of the {name}?",
                f"With what is the {name} kept clean?",
            ),
            agent,
            f"{it.agent_percent}% {it.agent}",
        ),
    )
    return Section(f"{name}: care", text, asks)


def _trouble(it: Product, rng: random.Random) -> Section:
    name, symptom, fault = it.name, it.family.symptom, it.fault
    months = quantity(it.warranty_months, "months")
    opening = (
        f"Some owners of the {name} report that it {symptom}.",
        f"Most calls about the {name} are alike: it {symptom}.",
        f"Now and then {with_article(name)} {symptom}, mostly when new.",
    )
    lapse = rng.choice(LAPSES)
    warranty = (
        f"The warranty runs for {months} from delivery and {lapse}.",
        f"Repairs are free for {months} after delivery; the warranty {lapse}.",
        f"Its warranty, {months} from the date of the invoice, {lapse}.",
    )
    text = f"{rng.choice(opening)} {fault.cause} {fault.remedy} {rng.choice(warranty)}"
    explain = rng.choice(
        (
            why(f"{capital(with_article(name))} {symptom}: what is the cause?", fault.cause),
            why(
                f"If {with_article(name)} {symptom}, what is the reason and what should be done?",
                fault.cause,
                fault.remedy,
            ),
        )
    )
    asks = (
        explain,
        number(
            either(
                rng,
                f"How long is the {name} under warranty?",
                f"For how many months is the {name} guaranteed?",
            ),
            it.warranty_months,
            "months",
        ),
    )
    return Section(f"{name}: faults and warranty", text, asks)
