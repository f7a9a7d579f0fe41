"""How the library runs: types of arrays, threads, workers, random numbers."""
