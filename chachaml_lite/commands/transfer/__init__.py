"""Commands that move runs between stores and from and to other tools: push, import, export."""
