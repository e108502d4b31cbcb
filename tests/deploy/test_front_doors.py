"""Caddy and the Ingress split paths as ``services.common.routes`` does."""

import re
from collections.abc import Iterator

from services.common.routes import ROUTES, service_for
from tests.deploy.rendered import ROOT, SERVICES, kustomize, named

CADDYFILE = (ROOT / "docker" / "Caddyfile").read_text()


def caddy_site() -> str:
    (site,) = re.findall(r"^\{\$SITE_ADDRESS\} \{\n(.*?)^\}", CADDYFILE, re.DOTALL | re.MULTILINE)
    return str(site)


def caddy_routes() -> Iterator[tuple[str, str]]:
    """Each prefix with its service; a prefix counts once it is named with and without ``/*``."""
    site = caddy_site()
    handled = dict(re.findall(r"handle (@\w+) \{\s*import to (\w+)", site))
    for matcher, paths in re.findall(r"(@\w+) path (.+)", site):
        patterns = paths.split()
        for exact, below in zip(patterns[::2], patterns[1::2], strict=True):
            assert below == f"{exact}/*"
            yield exact, handled[matcher]
    (rest,) = re.findall(r"handle \{\s*import to (\w+)", site)
    yield "/", rest


def test_caddy_splits_paths_as_the_table_does() -> None:
    routes = list(caddy_routes())
    assert sorted(routes) == sorted(ROUTES)


def test_every_caddy_matcher_is_handled() -> None:
    defined = re.findall(r"^\t(@\w+) path", caddy_site(), re.MULTILINE)
    handled = re.findall(r"^\thandle (@\w+) \{", caddy_site(), re.MULTILINE)
    assert defined == handled
    assert len(set(defined)) == len(SERVICES)


def test_caddy_hands_tokens_on_as_they_come() -> None:
    assert re.search(r"reverse_proxy \{args\[0\]\}:8000 \{[^}]*flush_interval -1", CADDYFILE)


def test_caddys_braces_match() -> None:
    without_comments = re.sub(r"#.*", "", CADDYFILE)
    assert without_comments.count("{") == without_comments.count("}")


def test_the_ingress_splits_paths_as_the_table_does() -> None:
    ingress = named(kustomize("k8s/base"), "Ingress", "front-door")
    (rule,) = ingress["spec"]["rules"]
    paths = rule["http"]["paths"]
    assert all(path["pathType"] == "Prefix" for path in paths)  # whole segments, longest first
    backends = {path["path"]: path["backend"]["service"]["name"] for path in paths}
    assert backends == dict(ROUTES)
    assert backends["/v1/files"] == service_for("/v1/files/file-1/content")


def test_the_ingress_streams() -> None:
    annotations = named(kustomize("k8s/base"), "Ingress", "front-door")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"


def test_each_backend_is_a_service_with_that_port() -> None:
    objects = kustomize("k8s/base")
    for service in SERVICES:
        (port,) = named(objects, "Service", service)["spec"]["ports"]
        assert port["name"] == "http"
