"""The page of an artifact: a preview of its content, and the images next to it."""
