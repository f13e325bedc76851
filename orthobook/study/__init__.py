"""The evidence: runs, the stores that keep them, the book's studies, and the verdicts on its claims."""
