"""A gRPC app: google's C library under Debian's Python, with messages that are plain bytes.

usage: grpc_app.py [CERTIFICATE KEY]
Says its port on the first line, then one line of JSON for each call that begins and each that is over.
"""

import json
import sys
import threading
from concurrent import futures

import grpc


def tell(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def begun(context, name, telling=True):
    """Notes a call; returns what marks it as finished. One that ends without that mark was cancelled."""
    finished = threading.Event()
    if telling:
        fields = [[key, value if isinstance(value, str) else value.hex()] for key, value in context.invocation_metadata()]
        # Whoever hears of the call may end it at once.
        context.add_callback(lambda: tell(event="over", call=name, finished=finished.is_set()))
        tell(event="begun", call=name, metadata=fields, limited=(context.time_remaining() or 1e9) < 1e6)
    return finished


def unary(request, context):
    finished = begun(context, "Unary", request != b"quiet")
    context.send_initial_metadata((("x-initial", "first"),))
    context.set_trailing_metadata((("x-trailing", "last"), ("x-trailing-bin", b"\x00\xff")))
    finished.set()
    return request


def down(request, context):
    """As many messages as asked for."""
    finished = begun(context, "Down")
    for number in range(int(request)):
        yield b"%d" % number
    context.set_trailing_metadata((("x-trailing", "last"),))
    finished.set()


def up(requests, context):
    finished = begun(context, "Up")
    count = total = 0
    for request in requests:
        count, total = count + 1, total + len(request)
    finished.set()
    return b"%d %d" % (count, total)


def both(requests, context):
    """Each message comes back before the next is read, up to a full stop."""
    over = threading.Event()
    context.add_callback(over.set)
    finished = begun(context, "Both")
    last = None
    for last in requests:
        yield last
    # The requests of a call that was broken off end like those of any other; that it was is told a little later.
    if last != b".":
        over.wait()
    else:
        finished.set()


def fail(request, context):
    finished = begun(context, "Fail")
    context.set_trailing_metadata((("x-why", "so"),))
    finished.set()
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö: 100% of it")


def fail_late(request, context):
    finished = begun(context, "FailLate")
    yield b"one"
    finished.set()
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "after one")


def wait(request, context):
    """Until the call is over."""
    over = threading.Event()
    context.add_callback(over.set)
    begun(context, "Wait")
    over.wait()
    return b""


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "FailLate": grpc.unary_stream_rpc_method_handler(fail_late),
    "Wait": grpc.unary_unary_rpc_method_handler(wait),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=[("grpc.max_receive_message_length", -1)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.App", HANDLERS),))
if len(sys.argv) > 2:
    with open(sys.argv[1], "rb") as certificate, open(sys.argv[2], "rb") as key:
        credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
# Ends with whoever started it.
sys.stdin.read()
