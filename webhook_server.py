"""The webhook server: the web app that tells the platform what to do with each call.

Start it by hand, and stop it with Ctrl-C:

    python webhook_server.py --port 5000

or let another WSGI server run its `app`:

    flask --app webhook_server run
    granian --interface wsgi webhook_server:app --workers 1 --blocking-threads 4

A notebook starts it for you: `board.start_webhook_server()`. A server started by hand must be told, before
it starts, by which address the platform reaches it, and the Voice application must be pointed there:

    in the sandbox   SERVER_URL=http://127.0.0.1:5000, the server's own address. The first way above needs
                     none, for it knows where it listens; flask and granian do not tell the app.
    live             SERVER_URL=https://calls.example.com, a public address that leads to it; without one
                     callers hear an apology and the log says so.

`sipkit.voice.point_application(account, address)` points the application; live, the dashboard does as well.
The same server shows each room's page to whoever has an invitation: `board.invite(room)` in a notebook, or
`sipkit invite ROOM --url http://127.0.0.1:5000` beside a server started by hand. On Ctrl-C or SIGTERM it hangs
up what those pages dialled (kill -9 leaves that to `board.hang_up`); under granian and flask pages do not dial.

Importing this file makes the app, which in sandbox mode starts the sandbox; it places no call.
"""

import argparse
import sys

if __name__ == "__main__":
    from sipkit.serving import run_by_hand

    parser = argparse.ArgumentParser(description="Serve the webhooks on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free port")
    sys.exit(run_by_hand(parser.parse_args().port))

from sipkit.app import create_app, freeze_loaded

app = create_app()
freeze_loaded()
