"""One experiment from a folder of data to a report: ingest, tune, evaluate, all over HTTP."""
