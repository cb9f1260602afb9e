"""WebRTC, the network side of it: ICE lite, DTLS-SRTP, the SDP of browsers, RTP and RTCP as they come.

A browser always makes the offer and the sandbox answers. Nothing here decodes or encodes media.
"""
