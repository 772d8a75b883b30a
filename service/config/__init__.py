"""Every setting, how each kind of text is read, and what a role needs of them."""
