"""What enlarging costs in time and memory."""
