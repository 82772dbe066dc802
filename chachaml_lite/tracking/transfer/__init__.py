"""Transfer of runs between stores: import of zips, merging, manifests."""
