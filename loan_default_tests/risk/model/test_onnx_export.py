"""Trees as ONNX: the same margins to the bit, with values missing and beyond all that was seen."""

import numpy as np
import onnxruntime
import pytest

from loan_default.risk.model.candidates.xgboost_model import XGBoostModel
from loan_default.risk.model.features import FeatureSpace
from loan_default.risk.model.onnx_export import to_onnx
from loan_default_tests.packages import applications, contract, scorer


def on_one_thread(model: XGBoostModel) -> onnxruntime.InferenceSession:
    """More threads add up parts of the trees each, and so round in another order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(to_onnx(model.booster), options)


@pytest.mark.parametrize("kind", ["xgboost", "random_forest"])
@pytest.mark.slow
def test_the_same_margins(kind: str) -> None:
    model = scorer(kind).model
    assert isinstance(model, XGBoostModel)
    session = on_one_thread(model)
    X = FeatureSpace(contract()).matrix(applications()[1])
    rng = np.random.default_rng(1)
    X = np.vstack([X, np.where(rng.random(X.shape) < 0.3, np.nan, X), 1e6 * rng.standard_normal(X.shape)])
    X = X.astype(np.float32)
    assert np.array_equal(session.run(None, {"X": X})[0][:, 0], model.margins(X))
    assert session.run(None, {"X": X})[0].std() > 0.05


def test_a_value_at_a_threshold_goes_the_same_way() -> None:
    model = scorer("xgboost").model
    assert isinstance(model, XGBoostModel)
    session = on_one_thread(model)
    splits = model.booster.trees_to_dataframe().query("Feature != 'Leaf'")
    names = list(model.booster.feature_names)
    X = np.repeat(FeatureSpace(contract()).matrix(applications()[1])[:1], len(splits), axis=0)
    X[np.arange(len(splits)), [names.index(name) for name in splits["Feature"]]] = splits["Split"]
    assert np.array_equal(session.run(None, {"X": X})[0][:, 0], model.margins(X))
