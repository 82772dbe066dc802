"""chachaml-lite: an experiment tracker over HTTP, in a folder of plain files."""

__version__ = "1.0.0"
