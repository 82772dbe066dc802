"""The commands of `chachaml-lite`, one in each module: options and environment in, text and an exit code out."""
