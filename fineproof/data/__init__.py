"""Folders of data: read, checked, made from public sets, and searched for leaks."""
