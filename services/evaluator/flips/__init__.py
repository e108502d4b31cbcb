"""The items behind a difference: where an arm scores otherwise than its baseline."""
