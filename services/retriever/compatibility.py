"""A store's vectors are of one model: that of the first."""

from sqlalchemy.orm import Session

from services.common.errors import InvalidRequest
from services.retriever import storage
from services.retriever.embedding import Embedder
from services.retriever.expiry import refuse_expired
from services.retriever.models import VectorStore


def refuse_other_model(store: VectorStore, embedder: Embedder) -> VectorStore:
    """Raise when the store's vectors are another model's; nothing is known of it while ours loads.

    One from before models were remembered has vectors of some size, and no name for their model.
    """
    # Not a 409, which OpenAI's clients would try again.
    if not embedder.is_loaded or _is_ours(store, embedder):
        return store
    theirs = f"'{store.embedding_model}'" if store.embedding_model else "a model"
    ours = f"'{embedder.name}' of {embedder.dimensions} dimensions"
    if store.embedding_model == embedder.name:
        ours += ", with other weights or at another address"
    raise InvalidRequest(
        f"The vectors of vector store '{store.id}' are from {theirs} of {store.dimensions} "
        f"dimensions; this server runs {ours}. Make a new store, or have the server started with "
        "that model; searches with mode 'text' work as they are.",
        code="embedding_model_mismatch",
        param="vector_store_id",
    )


def open_for(embedder: Embedder, store: VectorStore) -> VectorStore:
    """The store, where more may come into it: it has not expired, and its model is ours."""
    return refuse_other_model(refuse_expired(store), embedder)


def adopt(store: VectorStore, embedder: Embedder) -> None:
    """Have the model be the store's, whose lock the caller holds; raise when it has another."""
    refuse_other_model(store, embedder)
    store.embedding_model = embedder.name
    store.embedding_identity = embedder.identity
    store.dimensions = embedder.dimensions


def adopt_at_search(session: Session, store: VectorStore, embedder: Embedder) -> None:
    """The same for a store whose vectors are older than the memory of models, without its lock."""
    refuse_other_model(store, embedder)
    if store.embedding_identity is None and store.passages:
        storage.note_model(
            session,
            store,
            name=embedder.name,
            identity=embedder.identity,
            dimensions=embedder.dimensions,
        )


def _is_ours(store: VectorStore, embedder: Embedder) -> bool:
    if store.embedding_identity is not None:
        return store.embedding_identity == embedder.identity
    return store.dimensions in (None, embedder.dimensions)
