"""The algorithms, each an ordinary Surprise ``AlgoBase``."""
