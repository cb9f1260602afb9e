"""Audio of calls: G.711, RTP legs, the 20 ms mixer, DTMF, speech and recordings. 8 kHz, mono, 16 bit."""
