"""How the sample products are made: their records, their formats, and which of them there are."""
