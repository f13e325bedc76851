"""For students: self-checks of exercises, and dashboards for a running kernel."""
