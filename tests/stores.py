"""An S3-compatible server on this machine, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}  # fmt: skip


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a server with the bucket `bucket`; credentials are in the environment within the block."""
    before = dict(os.environ)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        host, port = server.stdout.readline().split()
        os.environ.update(ENVIRONMENT)
        from pyarrow import fs  # noqa: PLC0415

        endpoint = f"http://{host}:{port}"
        fs.S3FileSystem(endpoint_override=endpoint, allow_bucket_creation=True).create_dir("bucket")
        yield endpoint
    finally:
        server.kill()
        server.communicate()
        os.environ.clear()
        os.environ.update(before)
