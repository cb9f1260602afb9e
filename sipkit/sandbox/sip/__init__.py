"""SIP user agents (RFC 3261): transport, transactions, digest, SDP and calls.

``sipmessage`` parses and serialises; the state machines are here, named after the RFC's terms. Media is not:
a call carries SDP, and whoever answers or places it brings the RTP.
"""
