"""The web dashboard: server-rendered pages over experiments, jobs and adapters.

``installation`` puts it into an application. ``routes`` asks, ``peers`` bears with services that
are down, ``verdicts``, ``answers``, ``training`` and ``proofs`` turn contracts into what a page
shows, ``plots`` draws, ``words`` phrases, ``pages`` renders.

Text of models and data sets is hostile here: templates escape everything, and the
Content-Security-Policy forbids inline script and style and any other origin.
"""
