"""Scenarios, comparisons, figures and the command line.

Each command is a function of the same name in the module of that name, for notebooks:
``from experiments.compare import compare``; likewise ``simulate``, ``sweep``, ``tune``,
``capacity``, ``validate``, ``diagnose`` and ``export``.  What they give has a view for Jupyter,
``.to_frame()``, ``.to_json()`` and ``.plot``, whose figures take ``ax``.
"""
