"""The pages and plots of a replay."""
