"""Runs between stores: zips read and checked, merged, described by manifests."""
