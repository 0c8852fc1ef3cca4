"""A WebSocket app on Python's `websockets`: sends back what it gets, and ends a conversation when told to.

usage: websocket_app.py [CERTIFICATE KEY]
Says its port on the first line, then one line of JSON for each conversation that is over.
"""

import asyncio
import json
import ssl
import sys

import websockets


async def talk(socket):
    seen = {"path": socket.path, "host": socket.request_headers["Host"], "chosen": socket.subprotocol}
    seen["extensions"] = [extension.name for extension in socket.extensions]
    try:
        async for message in socket:
            if message == "ping me":
                await (await socket.ping(b"from the app"))
                message = "pinged"
            if message == "go away":
                await socket.close(4001, "as you say")
                break
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass
    seen["closed"] = [socket.close_code, socket.close_reason]
    print(json.dumps(seen), flush=True)


async def main():
    context = None
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    settings = {"ssl": context, "subprotocols": ["chat.v2", "chat.v1"], "max_size": None}
    async with websockets.serve(talk, "127.0.0.1", 0, **settings) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        # Ends with whoever started it.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
