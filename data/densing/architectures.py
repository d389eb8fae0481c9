"""Count the parameters of an LLM from its public architecture, exactly.

Every count leaves out the input embedding and the output head: that is how the reference ladder
counts. None of the LLMs in `architectures.csv` has learned position embeddings. Vision encoders
and multi-token-prediction layers are not counted.
"""

from collections.abc import Mapping

#: Widths of the parts of a head in multi-head latent attention, the same in every LLM here.
ROPE_WIDTH, NOPE_WIDTH, VALUE_WIDTH = 64, 128, 128
#: Biases of the attention: on queries, keys and values, and on the output as well.
QKV_BIAS, OUTPUT_BIAS = frozenset({"qkv", "attention", "all"}), frozenset({"attention", "all"})

Architecture = Mapping[str, str]


def number(row: Architecture, name: str) -> int:
    """Read a count of the row, 0 where the cell is blank."""
    return int(row[name] or 0)


def attention(row: Architecture) -> int:
    """Count one layer's attention: (grouped) multi-head attention with its biases and norms."""
    width, head = number(row, "hidden_size"), number(row, "head_dim")
    queries, keys = head * number(row, "n_heads"), head * number(row, "n_kv_heads")
    weights = 2 * width * queries + 2 * width * keys
    biases = (row["bias"] in QKV_BIAS) * (queries + 2 * keys) + (row["bias"] in OUTPUT_BIAS) * width
    return weights + biases + (row["qk_norm"] == "true") * 2 * head


def latent_attention(row: Architecture) -> int:
    """Count one layer's multi-head latent attention (DeepSeek-V2), its latents' norms included."""
    width, heads = number(row, "hidden_size"), number(row, "n_heads")
    q_rank, kv_rank = number(row, "q_lora_rank"), number(row, "kv_lora_rank")
    q_width = heads * (NOPE_WIDTH + ROPE_WIDTH)
    queries = width * q_rank + q_rank + q_rank * q_width if q_rank else width * q_width
    keys_values = width * (kv_rank + ROPE_WIDTH) + kv_rank
    expanded = kv_rank * heads * (NOPE_WIDTH + VALUE_WIDTH)
    return queries + keys_values + expanded + heads * VALUE_WIDTH * width


def dense_ffn(row: Architecture) -> int:
    """Count one dense feed-forward layer of two matrices, or three where it is gated."""
    width, inner, matrices = (
        number(row, name) for name in ("hidden_size", "ffn_size", "ffn_matrices")
    )
    return matrices * width * inner + (row["bias"] == "all") * ((matrices - 1) * inner + width)


def expert_ffn(row: Architecture) -> int:
    """Count one mixture-of-experts layer: all routed experts, the shared ones and the router."""
    width, experts = number(row, "hidden_size"), number(row, "n_experts")
    inner = experts * number(row, "expert_ffn_size") + number(row, "shared_ffn_size")
    return number(row, "ffn_matrices") * width * inner + width * experts


def transformer(row: Architecture) -> int:
    """Count a decoder whose layers have one shape, dense or with experts."""
    layers, dense = number(row, "n_layers"), number(row, "n_dense_layers")
    norm = number(row, "norm_vectors") * number(row, "hidden_size")
    one = latent_attention(row) if number(row, "kv_lora_rank") else attention(row)
    per_layer = one + number(row, "norms_per_layer") * norm
    ffns = dense * dense_ffn(row) + (layers - dense) * expert_ffn(row)
    return layers * per_layer + ffns + norm + number(row, "other_params")


def jamba(row: Architecture) -> int:
    """Count Jamba: every eighth layer attends, the others are Mamba; every second has experts."""
    width, layers = number(row, "hidden_size"), number(row, "n_layers")
    inner, state, kernel, step = 2 * width, 16, 4, width // 16
    mamba = 2 * width * inner + inner * (kernel + 1) + inner * (step + 2 * state)
    mamba += (step + 1) * inner + inner * state + inner + inner * width + step + 2 * state
    keys = number(row, "n_kv_heads") * number(row, "head_dim")
    mixers = layers // 8 * (2 * width * (width + keys)) + (layers - layers // 8) * mamba
    ffn, experts = 3 * width * number(row, "ffn_size"), number(row, "n_experts")
    ffns = layers // 2 * (ffn + experts * ffn + width * experts)
    return mixers + ffns + (2 * layers + 1) * width


def openelm(row: Architecture) -> int:
    """Count OpenELM: from first to last layer heads and inner width grow (half to all, .5 to 4)."""
    width, layers, head = (number(row, name) for name in ("hidden_size", "n_layers", "head_dim"))
    total = width
    for layer in range(layers):
        depth = layer / (layers - 1)
        heads = 4 * _nearest(width * round(0.5 + 0.5 * depth, 2), 4 * head) // (4 * head)
        inner = _nearest(width * round(0.5 + 3.5 * depth, 2), 256)
        total += (2 * heads + 2 * (heads // 4)) * head * width + 2 * head
        total += 3 * width * inner + 2 * width
    return total


def _nearest(value: float, step: int) -> int:
    """Round to a multiple of `step`, up where that would lose more than a tenth."""
    rounded = max(step, int(value + step / 2) // step * step)
    return rounded + step if rounded < 0.9 * value else rounded


LAYOUTS = {"transformer": transformer, "jamba": jamba, "openelm": openelm}


def non_embedding(row: Architecture) -> int:
    """Count all weights without input embedding and output head."""
    return LAYOUTS[row["layout"]](row)


def embedding(row: Architecture) -> int:
    """Count input embedding and output head: one matrix where they are tied, else two."""
    matrices = 1 if row["tied_embeddings"] == "true" else 2
    return matrices * number(row, "vocab_size") * number(row, "hidden_size")
