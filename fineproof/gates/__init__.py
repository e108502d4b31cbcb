"""An experiment's gate at the command line: a policy, an answer, and the items behind it."""
