# ruff: noqa: E501 - a sentence reads best on one line
"""What the company's policies are about, and why each group is treated as it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """`grants` states the entitlement, `asks` asks for it; each group has its own `reasons`."""

    name: str
    grants: str
    asks: str
    unit: str
    amounts: range
    groups: tuple[str, str]
    reasons: tuple[str, str]


TOPICS = (
    Topic(
        "Meal allowance", "{who} who are away overnight receive {amount} towards their meals",
        "What do {who} get for food on a night away?", "crowns per night", range(19, 90),
        ("field engineers", "lorry drivers"),
        ("Receipts are not asked for, because village inns seldom write them.",
         "The sum is paid in advance, since motorway kitchens stopped taking the company card."),
    ),
    Topic(
        "Home working", "{who} may work from home on up to {amount}",
        "How often are {who} allowed to work from home?", "days per quarter", range(6, 50),
        ("design staff", "accounts staff"),
        ("Prototype drawings stay on the office network, because a laptop with one was once left on a ferry.",
         "The last three days of a quarter are excluded, since the ledgers are closed on paper."),
    ),
    Topic(
        "Tool loans", "{who} can borrow company tools for private use for {amount}",
        "For how long can {who} take company tools home?", "days at a time", range(3, 40),
        ("apprentices", "fitters"),
        ("Torque wrenches are left out, because a dropped one reads wrong without showing it.",
         "Welding sets go out in pairs of borrowers only, since one has to keep watch for fire."),
    ),
    Topic(
        "Family leave", "{who} are entitled to {amount} when a child arrives",
        "How much leave do {who} have for a new child?", "weeks of paid leave", range(14, 60),
        ("shift workers", "office staff"),
        ("The leave may be split into three parts, because rosters are drawn up by the season.",
         "A successor is named a month ahead, since invoices need two known signatures."),
    ),
    Topic(
        "Night work", "{who} are paid a supplement of {amount} between ten and six",
        "What extra pay do {who} receive at night?", "crowns per hour", range(4, 40),
        ("furnace crews", "security guards"),
        ("Nobody works more than four nights running, because burns were twice as common on the fifth.",
         "Rounds are walked in changing order, since the theft of 2016 was timed to the minute."),
    ),
    Topic(
        "Training budget", "{who} may spend {amount} on courses of their own choice",
        "How much money do {who} have for courses?", "crowns per year", range(310, 2900, 35),
        ("laboratory assistants", "team leaders"),
        ("Courses abroad count half, because the institute in Ostvik refunds the rest.",
         "Language courses are free of the limit, since most suppliers write in Danish."),
    ),
    Topic(
        "Work clothing", "{who} are given {amount}, washed at the company's expense",
        "What supply of work clothes is issued to {who}?", "sets of overalls", range(3, 30),
        ("painters", "foundry workers"),
        ("Grey cloth is not used, because overspray in grey went unnoticed on two deliveries.",
         "Zips are replaced by press studs, since hot metal once welded a zip shut."),
    ),
    Topic(
        "Standby duty", "{who} on standby must be at the site within {amount} of a call",
        "How quickly must {who} arrive when called out?", "minutes", range(21, 110),
        ("heating technicians", "network engineers"),
        ("Two people are on the list at once, because the ferry strands one of them in bad weather.",
         "Calls are answered by landline first, since the mobile mast shares its fuse with the servers."),
    ),
    Topic(
        "Moving costs", "{who} who move for the company are repaid {amount}",
        "What is the most that {who} are repaid for a removal?", "crowns in all", range(1150, 9000, 145),
        ("new graduates", "site managers"),
        ("Pianos are carried by a specialist, because the insurer refused the last two claims.",
         "The old flat is paid for six more weeks, since handovers always overrun."),
    ),
)  # fmt: skip

PAPERS = ("the signed form", "a dated receipt", "the roster page", "a map of the route",
          "a note from the team leader", "a copy of the badge", "the order slip", "a photograph")  # fmt: skip
EXCEPTIONS = (
    "Part-time colleagues are treated in proportion to their hours.",
    "Temporary staff come under the rule after their first month.",
    "Exceptions are written into the personal file and end with the year.",
    "What is not used by December is lost.",
    "Nobody can sign for themselves, directors included.",
)
