"""`tocsin notify`: a process of its own that tells people of incidents, groups them, and keeps the figures."""
