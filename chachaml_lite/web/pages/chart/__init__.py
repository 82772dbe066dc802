"""Charts of metrics: their URL, the figures that pages hold, and the page and SVG of one chart."""
