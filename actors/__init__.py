"""The WhatsApp side of the tree: instances, their ports, the store and what leaves the host."""
