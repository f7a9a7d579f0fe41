"""Files: one container, written whole, checked before use."""
