"""Commands that transfer runs between stores, and from and to other tools: push, import, export."""
