"""`python -m chachaml_lite` is the `chachaml-lite` command."""

from .cli import main

if __name__ == "__main__":
    main()
