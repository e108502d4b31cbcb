"""Wire models that cross a boundary, one file per owning service."""
