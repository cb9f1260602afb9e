"""Softphones on the carrier's side: they dial the number like anybody's telephone."""
