"""The routes, one module for each group.

The dashboard, `/metrics` and the event stream are further groups: a module here with a `register`, and a
line in `api.app.GROUPS`."""
