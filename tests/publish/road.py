"""A road to a real server that can be cut: an HTTP proxy on the loopback that loses, hangs up or lies."""

import itertools
from collections.abc import Callable
from typing import Literal

import httpx

from tests.fakes.http_server import Exchange, HttpServer

# forward and answer; forward and hang up; hang up at once; answer 200 and do nothing
Fate = Literal["pass", "lose", "cut", "forget"]
Decide = Callable[[int, str], Fate]  # the request's number, 1-based, and "METHOD /path"
OF_THE_CONNECTION = {"host", "content-length", "transfer-encoding", "connection", "date", "server"}


def road(target: str, decide: Decide) -> HttpServer:
    """A road to `target` on which `decide` says what becomes of each request."""
    numbers = itertools.count(1)

    def forward(exchange: Exchange) -> None:
        fate = decide(next(numbers), f"{exchange.command} {exchange.path}")
        if fate == "cut":
            return
        if fate == "forget":
            exchange.say(200, {})
            return
        headers = [
            (key, value) for key, value in exchange.headers.items() if key.lower() not in OF_THE_CONNECTION
        ]
        url = target + exchange.path
        with httpx.stream(exchange.command, url, content=exchange.body, headers=headers, timeout=60) as reply:
            content = b"".join(reply.iter_raw())
        if fate == "pass":
            kept = {key: value for key, value in reply.headers.items() if key not in OF_THE_CONNECTION}
            exchange.say(reply.status_code, content, kept)

    return HttpServer(forward)
