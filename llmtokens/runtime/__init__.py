"""How the library runs: types of arrays, checked arguments, locks, threads, progress."""
