"""What the ratings are as arrays, and who is in them."""
