"""Chat, cited RAG answers, and adapters that are proven before they are served."""
