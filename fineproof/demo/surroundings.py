"""What the sites were, what stands in their yards, and the rules that guests wonder at."""

FORMER = (
    "a fish cannery", "a rope walk", "a brewery", "a tram depot", "a paper mill", "a dairy",
    "a cinema", "a seed store", "a button factory", "a boat shed", "a tannery", "a flax mill",
    "a glassworks", "a riding hall", "a coal wharf", "a printing house", "a cider press",
    "a lifeboat station",
)  # fmt: skip
GOODS = ("castings", "gear sets", "circuit boards", "hoses", "sheet metal", "test rigs",
             "wiring looms", "packaging")  # fmt: skip
KIT_PLACES = ("the canteen", "the paint shop", "the loading bay", "the stairwell", "the test hall",
              "the boiler room", "the porter's lodge", "the drawing office")  # fmt: skip
POINTS = (
    "the chestnut tree", "the old weighbridge", "the bus shelter", "the bandstand", "the slipway",
    "the flagpole", "the sundial", "the bicycle racks", "the war memorial", "the tennis court",
    "the horse trough", "the north lamp post", "the church steps", "the mooring post",
    "the chalk wall", "the turning circle", "the goods platform", "the duck pond",
)  # fmt: skip
RULES = (
    "Telephones stay in the lockers, because the spark erosion hall picks up their signal.",
    "Visitors walk on the left of the yellow line, since driverless carts keep to the right.",
    "Nobody wears perfume, because the leak detectors mistake it for solvent.",
    "Woollen jumpers stay outside, since their static has ruined two batches of boards.",
    "Deliveries wait at the lower gate, because the bridge bears only one lorry at a time.",
    "Umbrellas are left at the lodge, since a drip on the scales stops the weighing for an hour.",
    "Guests are escorted in fours, because the lift to the test hall holds five people.",
    "The side door stays shut until noon, since the morning sun blinds the optical gauges.",
    "Photographs need a pass, because customers' prototypes stand in the open hall.",
    "Shoes are covered in felt, since the floor carries the reference weights.",
    "Bags are weighed on the way in and out, because gear sets are small and dear.",
    "Children may come on Fridays only, since the presses rest on that day.",
    "Cars reverse into their bays, because the fire brigade wants a clear run to the river.",
    "Music is not played in the yard, since the inspectors listen for bearing noise.",
    "Watches come off at the second door, because the magnet bench stops them.",
    "Coffee stays in the canteen, since the archive next to the stairs is kept dry.",
    "Visitors sign in pencil, because ink fumes upset the paper humidity test.",
    "Dogs wait with the porter, since the ultrasonic baths hurt their ears.",
)  # fmt: skip
