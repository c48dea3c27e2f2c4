"""Generators of harmless test input: PE headers without code, archives, sandbox reports, the demo world."""
