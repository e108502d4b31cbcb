"""The whole stack on one machine: start, watch and stop real processes on the loopback."""
