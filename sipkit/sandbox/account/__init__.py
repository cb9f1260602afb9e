"""What belongs to the account: its limits, its numbers, its balance and the prices.

The applications stand beside the voice side that asks them (sandbox/voice/application.py).
"""
