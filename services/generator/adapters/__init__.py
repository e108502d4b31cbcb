"""Adapters: fetched, checked, loaded, proven, and kept where they are wanted."""
