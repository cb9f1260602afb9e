"""The sandbox: Vonage on 127.0.0.1, as strict as Vonage.

A process of its own (`python -m sipkit.sandbox serve`) that speaks Vonage's Video REST, Application
REST and SIP, calls the learner's webhooks and carries real RTP audio. It knows nothing of the rest of
sipkit: the two meet over HTTP, SIP and webhooks, as with Vonage. The kit imports only `launcher`.
"""
