"""The exam of a judge: answers of known order, and what a judge makes of them."""
