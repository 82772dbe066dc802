"""The page of an artifact: what it holds, and the images beside it."""
