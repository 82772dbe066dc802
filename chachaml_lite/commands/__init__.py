"""The commands of `chachaml-lite`, one a module: options and environment in, text and an exit code out."""
