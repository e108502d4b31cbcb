"""Adapters tuned on a folder of data from a shell: one, or one after another until one helps."""
