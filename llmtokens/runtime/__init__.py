"""How the library runs: threads, workers, random numbers."""
