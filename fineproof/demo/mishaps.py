# ruff: noqa: E501 - a sentence reads best on one line
"""What goes wrong at the company: six kinds of incident, each with four true stories."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Story:
    """Why it happened and what was changed, a sentence each."""

    cause: str
    change: str


@dataclass(frozen=True)
class Mishap:
    """A kind of incident; `found` says how it showed itself, `lost` what stood still."""

    name: str
    found: str
    lost: str
    actions: tuple[str, ...]
    stories: tuple[Story, Story, Story, Story]


MISHAPS = (
    Mishap(
        "coolant leak", "a puddle under the milling row", "the milling row stood still",
        ("new hose clips", "a drip tray", "a level alarm", "a weekly walk-round", "spare couplings"),
        (
            Story("A cleaning trolley had been pushed against the drain valve and held it half open.",
                  "The valve now sits behind a hinged guard."),
            Story("The hose had been replaced with one for cold water, which softened within a month.",
                  "Hoses are now marked with the temperature that they bear."),
            Story("Vibration from the new press loosened a union that had been tightened by hand.",
                  "Unions near the press are now wired after tightening."),
            Story("A gardener's spade had cracked the return pipe where it runs shallow under the lawn.",
                  "The pipe was moved indoors within the year."),
        ),
    ),
    Mishap(
        "power cut", "the lamps in the test hall going out", "the test hall was dark",
        ("a second feeder", "torches at every exit", "a fuse chart", "a monthly generator run", "dry cable ducts"),
        (
            Story("A marten had climbed into the transformer house and bridged two bars.",
                  "The louvres were fitted with fine steel mesh."),
            Story("Three kilns were switched on within a second of one another after a break.",
                  "A delay relay now starts the kilns one by one."),
            Story("A contractor cut the feeder while digging holes for a fence.",
                  "Digging needs a permit with a cable plan since then."),
            Story("The main breaker had been set for the smaller plant of twenty years ago.",
                  "Its setting is now checked whenever a machine is bought."),
        ),
    ),
    Mishap(
        "labelling mix-up", "a customer's call about a wrong part number", "outgoing crates were held",
        ("a second reader", "coloured tape", "a printed packing plan", "a sample check", "separate benches"),
        (
            Story("The night shift had loaded a roll of labels that was left from the trade fair.",
                  "Left-over rolls are now shredded on the same day."),
            Story("Two orders were packed on one bench because the other one was being painted.",
                  "A bench under repair now closes its packing line."),
            Story("The scanner had read the crate behind the one that was meant.",
                  "Crates are now turned with their codes to the wall until they are due."),
            Story("A new field in the order system pushed the part number onto the second line.",
                  "Changes to the order system are now tried on ten old orders first."),
        ),
    ),
    Mishap(
        "forklift collision", "a bang at the loading ramp", "the loading ramp was closed",
        ("convex mirrors", "blue warning lamps", "a one-way lane", "a lower speed limit", "rubber posts"),
        (
            Story("The driver was blinded by a floodlight when the ramp door rolled up.",
                  "A strip curtain now softens the light at the door."),
            Story("Hydraulic oil from an earlier delivery had made the ramp slippery.",
                  "Sand and a broom now hang beside the ramp."),
            Story("A stack of pallets had been left in front of the mirror at the corner.",
                  "The floor below the mirror is now hatched in red."),
            Story("The brake pedal was jammed by a dropped glove.",
                  "Glove clips are now handed out with the keys."),
        ),
    ),
    Mishap(
        "server room overheating", "a warning mail from the order system", "orders were written by hand",
        ("a spare fan", "a door contact", "two thermometers", "a printed shutdown list", "a second cooler"),
        (
            Story("Cardboard boxes had been stored in front of the air intake over a long weekend.",
                  "A painted frame on the floor now keeps the intake free."),
            Story("The cooler had switched itself to standby after it lost the time.",
                  "The cooler takes the time from the network since then."),
            Story("Feathers from a pigeon loft had clogged the outdoor unit within a single week.",
                  "The outdoor unit is now brushed every second day."),
            Story("A plumber had closed the chilled water and told only the porter.",
                  "Shut-off valves now carry the number of the person to call."),
        ),
    ),
    Mishap(
        "solvent spill", "a sharp smell on the stairs", "the paint shop was cleared",
        ("absorbent mats", "closed funnels", "a gas detector", "smaller drums", "a spill drill"),
        (
            Story("A drum had been lifted by its lid, whose clamp was never meant to carry weight.",
                  "Drums are now lifted with a cradle only."),
            Story("The tap of the rinse tank was left open because its handle had been put on crosswise.",
                  "All tap handles now point along the pipe when open."),
            Story("A can that had stood in the sun burst when it was opened.",
                  "Cans now rest in the cool store for a night before use."),
            Story("The pump kept running after the hose slipped off, as its float had dried up.",
                  "The pump now stops unless a pedal is held down."),
        ),
    ),
)  # fmt: skip
