"""The command line: ``agwm fit``, ``predict``, ``compare`` and ``report``. Heavy imports come late."""
