"""A stand-in for the cloudflared program, for tests: it is not cloudflared and reaches no network.

It speaks what is seen of a quick tunnel: the command line (`tunnel --no-autoupdate --url URL`) and the log on
standard error, and it really carries connections from what it calls a public address, a port of 127.0.0.1.

CLOUDFLARED_STANDIN says how it behaves: ok (default), silent, no_network, limited, dies.
"""

import os
import socket
import sys
import threading
import time


def say(text: str) -> None:
    """Write one line of the log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} INF {text}\n")
    sys.stderr.flush()


def carry(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until their end."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def main() -> int:
    """Run `cloudflared tunnel`."""
    mode = os.environ.get("CLOUDFLARED_STANDIN", "ok")
    if sys.argv[1:2] != ["tunnel"] or "--url" not in sys.argv:
        sys.stderr.write("Incorrect Usage\n")
        return 2
    if mode == "dies":
        return 1
    say("Requesting new quick Tunnel on trycloudflare.com...")
    if mode == "silent":
        threading.Event().wait()
    if mode == "no_network":
        sys.stderr.write('failed to request quick Tunnel: Post "https://api.trycloudflare.com/tunnel": dial tcp: ')
        sys.stderr.write("lookup api.trycloudflare.com: no such host\n")
        return 1
    if mode == "limited":
        sys.stderr.write("failed to unmarshal quick Tunnel: invalid character 'e' looking for beginning of value\n")
        return 1
    _, _, port = sys.argv[sys.argv.index("--url") + 1].rpartition(":")
    door = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{door.getsockname()[1]}"
    say(f"+{'-' * 92}+")
    say("|  Your quick Tunnel has been created! Visit it at (it may take some time to be reachable):  |")
    say(f"|  {address:<90}|")
    say(f"+{'-' * 92}+")
    say("Cannot determine default configuration path. No file [config.yml config.yaml] in [~/.cloudflared]")
    say("Registered tunnel connection connIndex=0 ip=198.51.100.7 location=ams01 protocol=quic")
    while True:
        visitor, _ = door.accept()
        upstream = socket.create_connection(("127.0.0.1", int(port)))
        for way in ((visitor, upstream), (upstream, visitor)):
            threading.Thread(target=carry, args=way, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
