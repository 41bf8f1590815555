"""Connections that never lead to the addresses where clouds tell a machine its own secrets.

An endpoint comes from a profile or the environment, and a profile may come with a project from elsewhere. Link-local
addresses serve no buckets, but credentials of the machine; they are refused by what a name resolves to, and once more
by whom the socket has reached. Redirects are followed nowhere (see `connection.py`).
"""

from __future__ import annotations

import ipaddress
import socket

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from nbkube.errors import LocationError
from nbkube.storage.s3.replies import WholeReplies

_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192")))


def check_address(address: str, host: str) -> None:
    """Raise `LocationError` where an IP address is link-local or a known metadata service."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA:
        raise LocationError(
            f"{host} leads to {address}, where no S3 server can be: nothing is sent there. "
            "Set the endpoint of the profile, or AWS_ENDPOINT_URL, to the server's own address."
        )


def _connected(make: HTTPConnection) -> socket.socket:
    for *_, address in socket.getaddrinfo(make._dns_host, make.port, type=socket.SOCK_STREAM):
        check_address(str(address[0]), make.host)
    reached = HTTPConnection._new_conn(make)
    try:
        check_address(str(reached.getpeername()[0]), make.host)
    except LocationError:
        reached.close()
        raise
    return reached


class _Plain(WholeReplies, HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _Secure(WholeReplies, HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connected(self)


class _ProxiedPlain(WholeReplies, HTTPConnection):
    pass  # a proxy reaches the server, so its address is the proxy's concern


class _ProxiedSecure(WholeReplies, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _ProxiedPlainPool(HTTPConnectionPool):
    ConnectionCls = _ProxiedPlain


class _ProxiedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _ProxiedSecure


def guarded(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """Have a pool make only such connections; through a proxy only the replies are looked at."""
    if pool.proxy is None:
        pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    else:
        pool.pool_classes_by_scheme = {"http": _ProxiedPlainPool, "https": _ProxiedSecurePool}
    return pool
