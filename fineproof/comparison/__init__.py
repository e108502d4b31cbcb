"""Two files of scores, from any tool, to one verdict; no stack is needed."""
