"""The node under disturbances for minutes: nothing may be lost, stale or grow."""
