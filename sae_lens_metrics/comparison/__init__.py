"""Which numbers of several results differ by more than noise."""
