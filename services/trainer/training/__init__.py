"""What runs in the training process: the only rooms that import torch.

``config`` and ``progress`` are how it and the worker speak, through the run's folder; they import
nothing heavy, because the worker reads them too.
"""
