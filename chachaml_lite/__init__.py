"""chachaml-lite: an experiment tracker over HTTP, in a folder of plain files."""

__version__ = "0.1.0"
