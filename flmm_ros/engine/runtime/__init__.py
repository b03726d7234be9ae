"""What a process that runs for days needs: memory, timing, cancellation, caches."""
