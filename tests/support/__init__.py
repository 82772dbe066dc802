"""Helpers of the tests: servers, browsers, proxies, stores and the fixtures that need them."""
