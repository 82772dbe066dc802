"""Proxies from the environment: the one for an https server, and the variables that keep this machine out of them."""

from __future__ import annotations

from collections.abc import Mapping


def bypass_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return no_proxy and NO_PROXY with this machine's names added; nothing where `variables` name no proxy.

    What we start asks our server on localhost, and a proxy elsewhere can't reach that.
    """
    if not {name.lower() for name, value in variables.items() if value} & {"http_proxy", "https_proxy", "all_proxy"}:
        return {}
    listed = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in variables.get(name, "").split(",")]
    hosts = [host for host in dict.fromkeys([*listed, "localhost", "127.0.0.1", "::1"]) if host]
    value = "*" if "*" in hosts else ",".join(hosts)
    return {"no_proxy": value, "NO_PROXY": value}
