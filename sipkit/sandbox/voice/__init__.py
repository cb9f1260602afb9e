"""The voice side of the sandbox: SIP server, webhooks, NCCOs, conversations and the application."""
