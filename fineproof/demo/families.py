# ruff: noqa: E501 - a sentence reads best on one line
"""The product families: what each machine does, and the one fault its owners ask about.

The members of a family show the same symptom for different reasons. That is what makes them
near misses: the neighbour's page looks right and answers wrong.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A cause and its remedy, a sentence each."""

    cause: str
    remedy: str


@dataclass(frozen=True)
class Family:
    """`does` and `asks` frame the one figure that customers compare; `rates` are its values."""

    noun: str
    use: str
    does: str
    asks: str
    unit: str
    rates: range
    watts: range
    symptom: str  # after "the machine ..."
    surface: str
    parts: tuple[str, ...]
    faults: tuple[Fault, Fault, Fault]


FAMILIES = (
    Family(
        "bench centrifuge", "clinics that spin small blood samples", "spins at up to",
        "How fast can the rotor of the {name} turn?", "revolutions per minute",
        range(2100, 6100, 150), range(180, 900, 20), "stops within a minute of starting", "rotor bowl",
        ("two carbon brushes", "a lid spring", "a rotor seal", "four rubber feet", "a drive belt"),
        (
            Fault("The lid switch loses contact as the hinge warms, and the controller takes the lid to be open.",
                  "Bend the switch tongue outwards by two millimetres."),
            Fault("Brush dust settles on the speed sensor, which then reports that the rotor is standing still.",
                  "Wipe the sensor with a dry lens cloth."),
            Fault("An uneven load trips the balance relay, and the relay stays tripped until the mains is pulled.",
                  "Unplug the machine for ten seconds and reload the tubes in opposite pairs."),
        ),
    ),
    Family(
        "dosing pump", "waterworks that meter chlorine", "delivers",
        "What flow does the {name} reach?", "litres per hour", range(35, 400, 12), range(25, 140, 5),
        "ticks but moves no liquid", "pump head",
        ("two duckbill valves", "a diaphragm", "a foot strainer", "an injection nozzle", "a length of hose"),
        (
            Fault("Gas from warm hypochlorite collects above the diaphragm and is squeezed instead of the liquid.",
                  "Open the purge screw for five strokes and shade the supply drum."),
            Fault("The suction valve has been put in upside down, which the symmetrical cage allows.",
                  "Turn the cage so that its notch faces the drum."),
            Fault("Salt crystals hold the discharge ball off its seat, so each stroke draws back what it pushed out.",
                  "Soak the ball cage in warm water for an hour."),
        ),
    ),
    Family(
        "label printer", "warehouses that mark crates", "prints",
        "How quickly does the {name} turn out labels?", "labels per minute", range(42, 200, 7), range(45, 180, 5),
        "leaves a blank stripe along every label", "print head",
        ("a platen roller", "a cutter blade", "a ribbon spindle", "two fuses", "a peel bar"),
        (
            Fault("A burr on the peel bar lifts the ribbon away from the paper at that place.",
                  "Draw a fine stone along the bar once, from left to right."),
            Fault("One block of the print head has dropped out because its flat cable has crept from the socket.",
                  "Press the cable home and close the grey latch over it."),
            Fault("Adhesive has built up on the platen roller and keeps the paper clear of the head.",
                  "Roll a cleaning card through three times with the ribbon removed."),
        ),
    ),
    Family(
        "vibration sensor", "mills that watch their bearings", "takes",
        "At what rate does the {name} sample?", "readings per second", range(640, 9000, 320), range(3, 30),
        "raises an alarm while the shaft is at rest", "sensor face",
        ("a magnet foot", "a lock nut", "a sealing washer", "two lithium cells", "a cable gland"),
        (
            Fault("The magnet foot picks up the hum of a transformer within two metres.",
                  "Fit the brass spacer between the foot and the housing."),
            Fault("A cell that is nearly empty lets the reference voltage sag, and the zero point moves with it.",
                  "Replace both cells together and hold the key until it blinks green."),
            Fault("Rain has crept along the cable into the gland and bridges two pins.",
                  "Dry the gland and leave a hanging loop in the cable."),
        ),
    ),
    Family(
        "dough prover", "village bakeries", "holds",
        "How many loaves fit into the {name}?", "loaf tins", range(24, 190, 6), range(800, 3000, 100),
        "dries the crust of the dough", "water tray",
        ("a door gasket", "a mist nozzle", "a humidity probe", "two shelf clips", "a float"),
        (
            Fault("Flour on the humidity probe makes the cabinet believe that the air is damp enough.",
                  "Brush the probe before every shift."),
            Fault("The fan runs at its daytime speed because the night switch was left on from the last bake.",
                  "Set the switch to dusk before loading."),
            Fault("Scale narrows the mist nozzle until it drips and no longer sprays.",
                  "Boil the nozzle in vinegar for twenty minutes."),
        ),
    ),
    Family(
        "dehumidifier", "archives and cellars", "draws",
        "How much water does the {name} take from the air?", "litres per day", range(11, 95, 4), range(210, 900, 30),
        "ices over at night", "condenser fins",
        ("a foam filter", "a drain elbow", "a defrost sensor", "two castors", "a bucket switch"),
        (
            Fault("The defrost sensor hangs in the warm exhaust and never feels the frost.",
                  "Clip the sensor to the third fin from the bottom."),
            Fault("The foam filter is damp from washing and starves the coil of air.",
                  "Dry the filter for a full day and run without it meanwhile."),
            Fault("The timer of the defrost cycle was set in minutes by installers who read it as seconds.",
                  "Enter the value from the yellow sticker inside the door."),
        ),
    ),
    Family(
        "bottle capper", "small breweries", "closes",
        "How many bottles can the {name} cap in an hour?", "bottles per hour", range(420, 3000, 90), range(350, 1500, 50),
        "crushes the rim of every tenth cap", "crimping bell",
        ("a crimping ring", "a feed chute", "two return springs", "a star wheel", "a centring cone"),
        (
            Fault("One tooth of the star wheel is worn and lets its bottle arrive late.",
                  "Turn the wheel over, since both faces are usable."),
            Fault("The air supply dips whenever the rinser beside it opens.",
                  "Give the machine its own buffer tank."),
            Fault("A cap lies on its side in the chute and shifts the others by half a step.",
                  "Tilt the chute to eleven degrees so that turned caps fall out."),
        ),
    ),
    Family(
        "river sampler", "inspectors of streams and outfalls", "fills",
        "How many sample bottles does the {name} carry?", "glass bottles", range(12, 80, 3), range(20, 90, 3),
        "skips the sample at midnight", "intake hose",
        ("a pump tube", "a clock battery", "a bottle ring", "two hose clamps", "a weighted strainer"),
        (
            Fault("The clock saves its log at that moment and does not listen to the timer.",
                  "Shift the programme by three minutes."),
            Fault("The modem calls home at that hour and pulls the supply below the pump's threshold.",
                  "Move the call to the early afternoon in the radio menu."),
            Fault("The distributor arm rests on its end stop when the day counter turns over.",
                  "Start each programme from bottle two."),
        ),
    ),
    Family(
        "fume cabinet", "school laboratories", "moves",
        "What volume of air does the {name} shift?", "cubic metres per hour", range(310, 1900, 70), range(140, 600, 20),
        "whistles when the sash is half open", "sash track",
        ("a charcoal cartridge", "a sash cord", "an airflow vane", "two track wipers", "a lamp tube"),
        (
            Fault("The left track wiper has curled and the draught plays over it like a reed.",
                  "Trim the wiper flush with the frame."),
            Fault("The bypass flap sticks shut, so all the air has to enter through the gap.",
                  "Grease the hinge of the flap with silicone."),
            Fault("The charcoal cartridge sits without its gasket and leaves a slot behind it.",
                  "Seat the cartridge with the arrow pointing at the wall."),
        ),
    ),
    Family(
        "glaze kiln", "potters and tile makers", "climbs by",
        "How quickly does the {name} heat up?", "degrees per hour", range(95, 420, 11), range(2400, 9000, 200),
        "pauses halfway through the firing", "door brick",
        ("a thermocouple", "two elements", "a spy plug", "a door rope", "a relay block"),
        (
            Fault("The thermocouple touches a shelf and reads the clay in place of the air.",
                  "Pull the tube back until a thumb fits between it and the shelf."),
            Fault("A relay in the block overheats and waits until its own temperature has fallen.",
                  "Clear the slots under the control box and keep a hand's width free behind it."),
            Fault("The programme meets a hold step left over from the test firing at the factory.",
                  "Delete step nine in every stored curve."),
        ),
    ),
    Family(
        "shelf scanner", "librarians and stock clerks", "reads",
        "How many tags does the {name} recognise in a minute?", "tags per minute", range(130, 990, 35), range(6, 40),
        "beeps twice for a single item", "scan window",
        ("a wrist strap", "a window film", "a charging pin", "two belt hooks", "a battery lid"),
        (
            Fault("Steel shelving mirrors the tag, and the echo passes for a second one.",
                  "Choose the setting called Cage, which ignores weak replies."),
            Fault("The trigger bounces because its rubber dome has hardened.",
                  "Fit the soft dome that comes with the service kit."),
            Fault("An old tag was left under the new label and still answers.",
                  "Run the retire routine over the shelf before recounting."),
        ),
    ),
    Family(
        "belt scale", "quarries and grain stores", "weighs",
        "What throughput can the {name} weigh?", "tonnes per hour", range(45, 900, 25), range(40, 200, 8),
        "drifts upwards during the morning", "weigh idler",
        ("a load cell", "two idler rollers", "a speed wheel", "a belt scraper", "a dust boot"),
        (
            Fault("Damp dust cakes on the weigh idler overnight and is counted as load.",
                  "Run the belt empty for six minutes and then set the zero."),
            Fault("The sun reaches the load cell through the missing side panel and stretches its bridge.",
                  "Hang the canvas shade on the east side."),
            Fault("The cold belt is stiff and carries part of the weight across the idler itself.",
                  "Apply the winter factor until the hall is above eight degrees."),
        ),
    ),
    Family(
        "valve actuator", "district heating plants", "turns with a force of",
        "How strong is the {name}?", "newton metres", range(55, 800, 25), range(55, 400, 15),
        "hunts back and forth around its position", "stem guide",
        ("a limit cam", "a gear set", "two gland rings", "a hand crank", "a position dial"),
        (
            Fault("Play in the limit cam lets the feedback lag behind the stem.",
                  "Tighten the cam screw by a quarter turn against its lock."),
            Fault("Two controllers on the same bus both believe that they own the valve.",
                  "Give the standby controller an address above forty."),
            Fault("The gland rings were packed too tightly, so the stem sticks and then jumps.",
                  "Slacken the gland until a single drop appears each minute."),
        ),
    ),
)  # fmt: skip
