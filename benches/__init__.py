"""Measurements that anyone can run, and the scripted desktop that they run on."""
