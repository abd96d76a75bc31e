"""From a closed chunk to the archive and back: spool, budget, MQTT, collector, archive, export.

Imports `codec`, never `capture`.
"""
