"""Founds the invented company and has every part of it write its pages."""

import random

from fineproof.demo import incidents, policies, products, sites, teams
from fineproof.demo.document import Document
from fineproof.demo.names import people


def handbook(rng: random.Random) -> list[Document]:
    """All documents, in the order of a printed handbook.

    A fact stands in one section of one document: an incident names its site, but says nothing
    that the site's own page says.
    """
    names = people(rng)
    estate = sites.estate(rng, names)
    machines = products.catalogue(rng, names)
    rules = policies.rules(rng, names)
    log = incidents.log(rng, names, [site.name for site in estate])
    roster = teams.roster(rng, names)
    return [
        *(sites.page(site, rng) for site in estate),
        *(teams.page(team, rng) for team in roster),
        *(products.page(machine, rng) for machine in machines),
        *(policies.page(rule, rng) for rule in rules),
        *(incidents.page(incident, rng) for incident in log),
    ]
