"""A gRPC client that does what each line of its input says, and answers with a line of JSON.

usage: grpc_client.py ADDRESS AUTHORITY [CERTIFICATE OF THE AUTHORITY THAT IT BELIEVES]
A line is a list: what to do, and its arguments. Messages are text.
"""

import json
import os
import queue
import sys

# A refusal is no gRPC, as it says on standard error.
os.environ["GRPC_VERBOSITY"] = "NONE"
import grpc

OPTIONS = [("grpc.max_receive_message_length", -1)]


def connect(address, authority, believed=None):
    if believed is None:
        return grpc.insecure_channel(address, OPTIONS + [("grpc.default_authority", authority)])
    with open(believed, "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    return grpc.secure_channel(address, credentials, OPTIONS + [("grpc.ssl_target_name_override", authority)])


def fields(metadata):
    return {key: value if isinstance(value, str) else value.hex() for key, value in metadata or ()}


def outcome(call, messages):
    """How a call ended, waiting for it."""
    return {
        "code": call.code().name,
        "details": call.details(),
        "messages": messages,
        "initial": fields(call.initial_metadata()),
        "trailing": fields(call.trailing_metadata()),
    }


def read(call):
    messages = []
    try:
        for message in call:
            messages.append(message.decode())
    except grpc.RpcError:
        pass
    return messages


class Client:
    def __init__(self, channel):
        self.channel = channel
        self.opened = None
        self.sending = None

    def unary(self, method, message, metadata, timeout=20):
        future = self.channel.unary_unary("/test.App/" + method).future(message.encode(), timeout, metadata)
        try:
            messages = [future.result().decode()]
        except grpc.RpcError:
            messages = []
        return outcome(future, messages)

    def down(self, method, message, metadata):
        call = self.channel.unary_stream("/test.App/" + method)(message.encode(), 20, metadata)
        return outcome(call, read(call))

    def up(self, message, count, metadata):
        messages = (message.encode() for _ in range(count))
        future = self.channel.stream_unary("/test.App/Up").future(messages, 20, metadata)
        return outcome(future, [future.result().decode()])

    def both(self, messages, metadata):
        """Sends all of it, and a full stop, without waiting for an answer."""
        sent = (text.encode() for text in [*messages, "."])
        call = self.channel.stream_stream("/test.App/Both")(sent, 20, metadata)
        return outcome(call, read(call))

    def many(self, count, metadata):
        """That many calls at once; how many ended in which way."""
        method = self.channel.unary_unary("/test.App/Unary")
        calls = [method.future(b"quiet", 20, metadata) for _ in range(count)]
        codes = [call.code().name if call.exception() else call.result().decode() for call in calls]
        return {code: codes.count(code) for code in codes}

    # A call whose messages are sent and awaited one by one.

    def open(self, metadata):
        self.sending = queue.SimpleQueue()
        self.opened = self.channel.stream_stream("/test.App/Both")(iter(self.sending.get, None), 20, metadata)

    def send(self, message):
        self.sending.put(message.encode())
        return next(self.opened).decode()

    def finish(self):
        self.sending.put(b".")
        self.sending.put(None)
        return self.end()

    def end(self):
        """Waits for the call's end, whoever brings it about."""
        return outcome(self.opened, read(self.opened))

    def cancel(self):
        self.opened.cancel()
        return self.opened.code().name

    # A call that is awaited later.

    def begin(self, method, metadata, timeout=20):
        self.opened = self.channel.unary_unary("/test.App/" + method).future(b"", timeout, metadata)

    def result(self):
        self.opened.exception()
        return outcome(self.opened, [])


client = Client(connect(*sys.argv[1:]))
for line in sys.stdin:
    action, *arguments = json.loads(line)
    print(json.dumps(getattr(client, action)(*arguments)), flush=True)
