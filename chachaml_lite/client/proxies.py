"""Variables that keep requests to this machine away from proxies."""

from __future__ import annotations

from collections.abc import Mapping


def bypass_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return no_proxy and NO_PROXY with this machine's names added; {} if `variables` set no proxy.

    The programs that we start send requests to our server on localhost, which a remote proxy can't reach.
    """
    if not {name.lower() for name, value in variables.items() if value} & {"http_proxy", "https_proxy", "all_proxy"}:
        return {}
    no_proxy_hosts = [host.strip() for name in ("no_proxy", "NO_PROXY") for host in variables.get(name, "").split(",")]
    hosts = [host for host in dict.fromkeys([*no_proxy_hosts, "localhost", "127.0.0.1", "::1"]) if host]
    value = "*" if "*" in hosts else ",".join(hosts)
    return {"no_proxy": value, "NO_PROXY": value}
