"""What is trained: where heads begin, losses, schedules, export."""
