"""An XGBoost model as ONNX: the same trees, in the form that answers one row twenty times as fast.

Written with the model package when a version is trained, so that the server needs no converter, and held against
XGBoost again when it is loaded. The converters at hand ask for renamed features and give probabilities in single
precision; the trees' own JSON, https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html, gives margins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

FILE = "model.onnx"
INPUT, OUTPUT = "X", "margin"
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_IR = 8


def to_onnx(booster: Any) -> bytes:
    """Write boosted trees or a forest, binary:logistic, as ONNX: `X` float32 (n, columns) → `margin` (n, 1)."""
    from onnx import TensorProto, helper

    learner = json.loads(booster.save_raw("json"))["learner"]
    trees = learner["gradient_booster"]["model"]["trees"]
    attributes: dict[str, Any] = _attributes(trees)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [OUTPUT],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[base_margin(learner)],
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, booster.num_features()])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid(*opset) for opset in _OPSETS.items()]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=_IR).SerializeToString()
    return model


def base_margin(learner: Mapping[str, Any]) -> float:
    """Return the log-odds that the leaves are added to, of a learner as XGBoost's JSON has it."""
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    return math.log(base / (1 - base))


def _attributes(trees: list[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return all nodes of all trees, below each other; a leaf's weight is its value."""
    nodes = [
        (tree, node, left_child, right_child, feature, value, default_left)
        for tree, content in enumerate(trees)
        for node, (left_child, right_child, feature, value, default_left) in enumerate(
            zip(
                *(content[name] for name in ("left_children", "right_children", "split_indices")),
                *(content[name] for name in ("split_conditions", "default_left")),
                strict=True,
            )
        )
    ]
    leaves = [node for node in nodes if node[2] == -1]
    inner = [(*node, node[2] != -1) for node in nodes]
    return {
        "nodes_treeids": [node[0] for node in nodes],
        "nodes_nodeids": [node[1] for node in nodes],
        "nodes_truenodeids": [max(node[2], 0) for node in nodes],
        "nodes_falsenodeids": [max(node[3], 0) for node in nodes],
        "nodes_featureids": [node[4] * node[-1] for node in inner],
        "nodes_values": [float(node[5]) * node[-1] for node in inner],
        "nodes_modes": ["BRANCH_LT" if node[-1] else "LEAF" for node in inner],
        "nodes_missing_value_tracks_true": [int(node[6]) * node[-1] for node in inner],
        "target_treeids": [leaf[0] for leaf in leaves],
        "target_nodeids": [leaf[1] for leaf in leaves],
        "target_ids": [0] * len(leaves),
        "target_weights": [float(leaf[5]) for leaf in leaves],
    }
