"""The webhook server: the web app that tells the platform what to do with each call.

Start it by hand, and stop it with Ctrl-C:

    python webhook_server.py --port 5000

or let another WSGI server run its `app`:

    flask --app webhook_server run
    granian --interface wsgi webhook_server:app --workers 1 --blocking-threads 4

A notebook starts it for you: `board.start_webhook_server()`. With such a server, or behind a proxy, set
SERVER_URL to the address the platform reaches it by. Importing this file makes the app, which in
sandbox mode starts the sandbox; it places no call.
"""

import argparse
import sys

if __name__ == "__main__":
    from sipkit.serving import run_by_hand

    parser = argparse.ArgumentParser(description="Serve the webhooks on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    sys.exit(run_by_hand(parser.parse_args().port))

from sipkit.webhooks import create_app

app = create_app()
