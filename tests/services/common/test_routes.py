import pytest

from services.common.routes import service_for


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/", "evaluator"),
        ("/jobs/x", "evaluator"),
        ("/v1/files", "trainer"),
        ("/v1/files/file_1/content", "trainer"),
        ("/v1/filesystem", "evaluator"),
        ("/v1/chat/completions", "generator"),
        ("/v1/vector_stores/vs_1/search", "retriever"),
        ("/v1/experiments", "evaluator"),
    ],
)
def test_the_longest_prefix_of_whole_segments_wins(path: str, service: str) -> None:
    assert service_for(path) == service
