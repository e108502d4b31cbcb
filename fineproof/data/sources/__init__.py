"""Public data sets in their original forms, one module each."""
