"""Which service answers which public path: the one table behind every front door.

The local proxy is driven from it; the routes of compose and Kubernetes are tested against it.
"""

ROUTES: tuple[tuple[str, str], ...] = (
    ("/v1/files", "trainer"),
    ("/v1/uploads", "trainer"),
    ("/v1/fine_tuning", "trainer"),
    ("/v1/chat", "generator"),
    ("/v1/completions", "generator"),
    ("/v1/responses", "generator"),
    ("/v1/models", "generator"),
    ("/v1/rag", "generator"),
    ("/v1/adapters", "generator"),
    ("/v1/vector_stores", "retriever"),
    ("/v1/evals", "evaluator"),
    ("/v1/experiments", "evaluator"),
    ("/v1/judges", "evaluator"),
    ("/", "evaluator"),
)


def service_for(path: str) -> str:
    """Name the service that answers ``path``; the longest matching prefix wins.

    A prefix matches whole segments: ``/v1/filesystem`` is not under ``/v1/files``.
    """
    matching = [
        (prefix, service)
        for prefix, service in ROUTES
        if prefix == "/" or path == prefix or path.startswith(prefix + "/")
    ]
    return max(matching, key=lambda route: len(route[0]))[1]
