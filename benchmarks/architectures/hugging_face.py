"""Models of transformers, built from tiny configurations."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from architectures.spec import Architecture
from costs.vision import import_torchvision

TEXT: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "cls_token_id": 1,
    "sep_token_id": 2,
}
GROUPED = {**TEXT, "num_key_value_heads": 2, "head_dim": 8}
PATCHES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 16,
    "patch_size": 4,
}
SEQ2SEQ: dict[str, Any] = {
    "vocab_size": 40,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
T5: dict[str, Any] = {"vocab_size": 40, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
MAMBA2 = {**TEXT, "state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 4}
WINDOWS: dict[str, Any] = {
    "image_size": 32,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 4],
    "window_size": 4,
}
SPEECH: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.0,
    "num_feat_extract_layers": 2,
}


def tokens() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(3, 40, (2, 9))}


def both_tokens() -> dict[str, torch.Tensor]:
    return {**tokens(), "decoder_input_ids": torch.randint(3, 40, (2, 7))}


def pixels(size: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(2, 3, size, size)}


def waves() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(2, 640)}


def captions() -> dict[str, torch.Tensor]:
    return {**tokens(), **pixels(16)}


def spectra() -> dict[str, torch.Tensor]:
    return {"input_features": torch.randn(2, 8, 32), "decoder_input_ids": torch.randint(3, 40, (2, 5))}


def _model(config: str, inputs: Any, sizes: dict[str, Any]) -> tuple[nn.Module, Any]:
    import_torchvision()
    transformers: Any = import_module("transformers")
    return transformers.AutoModel.from_config(getattr(transformers, f"{config}Config")(**sizes)), inputs()


def _clip() -> tuple[nn.Module, Any]:
    import_torchvision()
    transformers: Any = import_module("transformers")
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=TEXT, vision_config=PATCHES, projection_dim=16)
    ), captions()


def _detr() -> tuple[nn.Module, Any]:
    import_torchvision()
    transformers: Any = import_module("transformers")
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = transformers.DetrConfig(
        use_timm_backbone=False, backbone_config=backbone, backbone=None, num_queries=5, **SEQ2SEQ
    )
    return transformers.DetrModel(config), pixels(64)


_MODELS: tuple[tuple[str, str, Any, dict[str, Any]], ...] = (
    ("bert", "Bert", tokens, TEXT),
    ("roberta", "Roberta", tokens, TEXT),
    ("distilbert", "DistilBert", tokens, {**TEXT, "dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48}),
    ("albert", "Albert", tokens, {**TEXT, "embedding_size": 16}),
    ("electra", "Electra", tokens, {**TEXT, "embedding_size": 16}),
    ("deberta", "DebertaV2", tokens, TEXT),
    ("modernbert", "ModernBert", tokens, TEXT),
    ("gpt2", "GPT2", tokens, TEXT),
    ("opt", "OPT", tokens, {**TEXT, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    ("bloom", "Bloom", tokens, TEXT),
    ("phi", "Phi", tokens, TEXT),
    ("falcon", "Falcon", tokens, TEXT),
    ("gpt-neox", "GPTNeoX", tokens, TEXT),
    ("llama", "Llama", tokens, GROUPED),
    ("mistral", "Mistral", tokens, GROUPED),
    ("qwen2", "Qwen2", tokens, GROUPED),
    ("qwen3", "Qwen3", tokens, GROUPED),
    ("gemma", "Gemma", tokens, GROUPED),
    ("gemma2", "Gemma2", tokens, GROUPED),
    ("gemma3", "Gemma3Text", tokens, GROUPED),
    ("olmo", "Olmo", tokens, GROUPED),
    ("olmo2", "Olmo2", tokens, GROUPED),
    ("mixtral", "Mixtral", tokens, {**GROUPED, "num_local_experts": 2}),
    ("mamba", "Mamba", tokens, {**TEXT, "state_size": 4}),
    (
        "mamba2",
        "Mamba2",
        tokens,
        MAMBA2,
    ),
    ("t5", "T5", both_tokens, T5),
    ("bart", "Bart", both_tokens, SEQ2SEQ),
    ("whisper", "Whisper", spectra, {**SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 16}),
    ("wav2vec2", "Wav2Vec2", waves, SPEECH),
    ("vit", "ViT", partial(pixels, 16), PATCHES),
    ("deit", "DeiT", partial(pixels, 16), PATCHES),
    ("dinov2", "Dinov2", partial(pixels, 16), PATCHES),
    (
        "swin",
        "Swin",
        partial(pixels, 32),
        {"image_size": 32, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4},
    ),
    ("convnext", "ConvNext", partial(pixels, 32), {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
    ("convnextv2", "ConvNextV2", partial(pixels, 32), {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}),
    ("resnet", "ResNet", partial(pixels, 32), {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    (
        "regnet",
        "RegNet",
        partial(pixels, 32),
        {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 8},
    ),
    ("mobilenet", "MobileNetV2", partial(pixels, 64), {"depth_multiplier": 0.25, "image_size": 64}),
    (
        "segformer",
        "Segformer",
        partial(pixels, 32),
        {
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [2, 1],
            "hidden_sizes": [8, 16],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
        },
    ),
)
_LEFT = {
    "mamba2": (("MambaRMSNormGated", "gate"),),
}
ARCHITECTURES = (
    *(
        Architecture(name, "transformers", partial(_model, config, inputs, sizes), _LEFT.get(name, ()))
        for name, config, inputs, sizes in _MODELS
    ),
    Architecture("clip", "transformers", _clip),
    Architecture("detr", "transformers", _detr),
)
