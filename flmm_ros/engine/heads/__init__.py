"""Everything that turns attention into masks: trained heads, training-free ones, their files."""
