"""What the operating system can be asked and can tell: no policy, no decisions."""
