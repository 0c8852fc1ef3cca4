"""A WebSocket client on Python's `websockets`: does what each line of its input says, and answers with a line of JSON.

usage: websocket_client.py ADDRESS HOST [CERTIFICATE OF THE AUTHORITY THAT IT BELIEVES]
"""

import asyncio
import json
import ssl
import sys

import websockets


class Client:
    def __init__(self, address, host, believed=None):
        self.address = dict(zip(("host", "port"), address.rsplit(":", 1)))
        if believed:
            self.address["ssl"] = ssl.create_default_context(cafile=believed)
            self.address["server_hostname"] = host
        self.base = ("wss://" if believed else "ws://") + host
        self.socket = None

    async def open(self, path, fields):
        """How the app, or whoever stands before it, takes it."""
        settings = {"extra_headers": fields, "subprotocols": ["chat.v1"], "max_size": None}
        settings.update(self.address)
        try:
            self.socket = await websockets.connect(self.base + path, **settings)
        except websockets.InvalidStatusCode as error:
            return {"status": error.status_code}
        chosen = [extension.name for extension in self.socket.extensions]
        return {"status": 101, "chosen": self.socket.subprotocol, "extensions": chosen}

    async def echo(self, text):
        await self.socket.send(text)
        return await self.socket.recv()

    async def bytes(self, length):
        """Whether so many bytes, as one message and in fragments, come back as they were."""
        sent = bytes(number * 31 % 251 for number in range(length))
        await self.socket.send(sent)
        whole = await self.socket.recv() == sent
        await self.socket.send(sent[at : at + 1000] for at in range(0, length, 1000))
        return whole and await self.socket.recv() == sent

    async def ping(self):
        await (await self.socket.ping(b"from the client"))
        return await self.echo("ping me")

    async def close(self, code, reason):
        await self.socket.close(code, reason)
        return [self.socket.close_code, self.socket.close_reason]

    async def end(self, text=None):
        """How the conversation ends, after saying `text`."""
        if text is not None:
            await self.socket.send(text)
        await self.socket.wait_closed()
        return [self.socket.close_code, self.socket.close_reason]


async def main():
    client = Client(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        action, *arguments = json.loads(line)
        print(json.dumps(await getattr(client, action)(*arguments)), flush=True)


asyncio.run(main())
