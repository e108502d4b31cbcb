"""What workers do: turns and leases, the training process, and what becomes of a run."""
