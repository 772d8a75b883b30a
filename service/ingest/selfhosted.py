"""Models that somebody serves on machines of their own: what they cost is in nobody's list."""

import re

_SERVERS = (
    "ollama", "ollama_chat", "vllm", "hosted_vllm", "vllm_openai", "llama.cpp", "llama_cpp_python", "llamafile",
    "lmstudio", "localai", "gpt4all", "jan", "koboldcpp", "tabbyapi", "exllama", "exllamav2", "oobabooga",
    "text_generation_webui", "tgi", "text_generation_inference", "huggingface_tgi", "huggingface_local",
    "text_embeddings_inference", "tei", "infinity", "sglang", "lmdeploy", "tensorrt_llm", "trtllm", "triton",
    "triton_inference_server", "aphrodite", "aphrodite_engine", "mlx", "mlx_lm", "mlc", "mlc_llm", "xinference",
    "openllm", "bentoml", "ray_serve", "docker_model_runner", "foundry_local", "ramalama", "lemonade", "nexa",
    "transformers", "local", "self_hosted", "on_premises", "onprem", "gpustack", "cortex", "petals",
)  # fmt: skip
"""Servers of open weights, as instrumentations and gateways name the provider.

Source: the providers of litellm, LangChain, LlamaIndex, Pydantic AI and openlit; the servers' own exporters.
"""
_UNJOINED = re.compile(r"[\s._-]+")
_NAMES = frozenset(_UNJOINED.sub("", name) for name in _SERVERS)
_TAGGED = re.compile(r"[^/]*:(\d+(\.\d+)?[bm]|[a-z0-9.-]*q\d(_[a-z0-9]+)*)(-[a-z0-9_.-]+)?", re.IGNORECASE)
"""How Ollama names the size or the quantization of a model; nobody who sells calls does."""


def is_self_hosted(provider: str, model: str) -> bool:
    """Whether a model is served by who calls it, by its provider, or by the model's name where that is a server's own.

    >>> is_self_hosted("LM Studio", "qwen3"), is_self_hosted("", "deepseek-r1:14b"), is_self_hosted("openai", "gpt-4o")
    (True, True, False)
    """
    server = model.partition("/")[0] if "/" in model else ""
    if not _NAMES.isdisjoint((_UNJOINED.sub("", provider.lower()), _UNJOINED.sub("", server.lower()) or "-")):
        return True
    return ".gguf" in model.lower() or (provider == "" and _TAGGED.fullmatch(model) is not None)
