"""The video side of the sandbox: sessions, tokens, the OpenTok REST API and the SIP gateway that dials."""
