"""The agent on the person's machine: sources, policy, governor, recorder, and the command `modicum`.

Imports `codec`; only the composition roots (`agent`, `cli`) import `transport`.
"""
