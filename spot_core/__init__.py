"""The SPoT method as a library: rollout, checking, rectification and training, without any orchestrator.

Nothing heavy (torch, vllm, transformers, deepspeed) is imported before a module that needs it is.
"""

__version__ = "0.1.0"
