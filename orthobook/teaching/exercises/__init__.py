"""Self-checks for the exercises of the book: they say what is wrong with an answer.

>>> from orthobook import exercises
>>> exercises.check("layer-exercise-count", lambda n, m: n * m)
Not yet: at n = 4, m = 4 ...

Each exercise that is answered by code has one, under the label that it has in the book; the checks of a chapter are in
a file of its own. They test a property that the answer must have, or compare it with a closed form, rather than with a
stored solution.
"""

import importlib
import pkgutil

from orthobook.teaching.exercises._self_checks import NotYet, Verdict, check, labels

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["NotYet", "Verdict", "check", "labels"]
