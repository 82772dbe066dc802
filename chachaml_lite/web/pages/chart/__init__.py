"""Charts of metrics: their URLs, the figures on pages, and the page and SVG of one chart."""
