"""The peer of `make bench`: browsers' media relayed the way aiortc does it, with its MediaRelay.

aiortc hands decoded frames from a receiver to senders, which encode them again; the sandbox forwards packets. It is
not installed with the kit (its wheels bring code under the GPL): where somebody installed it, the two are compared.

Run as a process of its own: prints its address, then answers offers until its standard input ends.

    POST /publish/NAME  the offer of a browser that sends    -> the answer
    POST /view/NAME     the offer of one that receives NAME  -> the answer
"""

import asyncio
import sys

from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaRelay


class Relay:
    """Who publishes, and the connections of everybody."""

    def __init__(self) -> None:
        self._relay = MediaRelay()
        self._connections: list[RTCPeerConnection] = []
        self._published: dict[str, list[MediaStreamTrack]] = {}

    async def publish(self, request: web.Request) -> web.Response:
        """Take a browser's tracks."""
        connection = self._connection()
        tracks = self._published.setdefault(request.match_info["name"], [])
        # A track that nobody views would pile up.
        drain = MediaBlackhole()

        def taken(track: MediaStreamTrack) -> None:
            tracks.append(track)
            drain.addTrack(self._relay.subscribe(track))

        connection.on("track", taken)
        answer = await self._answer(connection, await request.text())
        await drain.start()
        return answer

    async def view(self, request: web.Request) -> web.Response:
        """Give a browser the tracks of another."""
        connection = self._connection()
        offer = await request.text()
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        for track in self._published[request.match_info["name"]]:
            connection.addTrack(self._relay.subscribe(track))
        return await self._answer(connection)

    async def close(self) -> None:
        """End all connections."""
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def _connection(self) -> RTCPeerConnection:
        self._connections.append(RTCPeerConnection())
        return self._connections[-1]

    @staticmethod
    async def _answer(connection: RTCPeerConnection, offer: str | None = None) -> web.Response:
        if offer is not None:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        # Any page may ask: the one of the bench has another port, which makes it a stranger to the browser.
        return web.Response(text=connection.localDescription.sdp, headers={"Access-Control-Allow-Origin": "*"})


async def main() -> None:
    """Serve until whoever started this lets go of its standard input."""
    relay = Relay()
    app = web.Application()
    app.add_routes([web.post("/publish/{name}", relay.publish), web.post("/view/{name}", relay.view)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(site.name.replace(":0", f":{runner.addresses[0][1]}"), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await relay.close()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
