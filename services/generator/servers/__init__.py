"""Model servers, ours and others': which are well, and how each is asked."""
