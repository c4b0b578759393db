"""Trains a book's model and XGBoost alone on the same rows, and prints the AUC and the Brier score of both.

    python examples/against_xgboost.py examples/hmeq/contract.yaml hmeq.csv

XGBoost sees every column of the file but the outcome, the id and what is known afterwards, texts as categories. Both
search in 20 trials on the train and calibrate windows; the test loans are looked at by neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
import pandas as pd
import polars as pl
import xgboost
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from loan_default.operations import home, training
from loan_default.risk.contract.book import Contract
from loan_default.risk.contract.loading import load_contract
from loan_default.risk.data.splits import Splits
from loan_default.risk.data.splitting import window_loans

TRIALS, SEED = 20, 0
FIXED = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "seed": SEED}
Windows = Mapping[str, list[int]]


def main(contract_file: Path, file: Path) -> None:
    """Print a line for each model."""
    contract = load_contract(contract_file)
    with TemporaryDirectory() as folder:
        os.environ |= {"LOAN_DEFAULT_HOME": folder, "LOAN_DEFAULT_CONTRACT": str(contract_file.resolve())}
        settings = home.open_home(data=str(file.resolve()))
        records = training.run_pipeline(settings, training.TrainingRequest(trials=TRIALS))
        assert records.evaluation is not None
        assert records.splits is not None
        cleaned = pl.scan_parquet(str(settings.layout.table("cleaned_loans")))
        splits = Splits.from_dict(records.splits)
        ids = {
            name: window_loans(cleaned, contract, splits, name)[contract.id_name]
            for name in ("train", "calibrate", "test")
        }
        metrics = records.evaluation["judgement"]["evaluation"]["metrics"]
        _say(f"{contract.name}: AUC {metrics['auc']['value']:.4f}, Brier {metrics['brier']['value']:.4f}")
    X, y, windows = read(contract, file, ids)
    pds = boost(X, y, windows)
    test = y[windows["test"]]
    _say(f"XGBoost alone: AUC {roc_auc_score(test, pds):.4f}, Brier {brier_score_loss(test, pds):.4f}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def read(
    contract: Contract, file: Path, ids: Mapping[str, pl.Series]
) -> tuple[pd.DataFrame, NDArray[np.int64], Windows]:
    """Return the columns of the file, its outcomes, and the rows of each window."""
    table = pl.read_csv(file, separator=contract.files.separator, infer_schema_length=None)
    column = contract.by_name[contract.id_name].column
    if column in table.columns:
        loans = table[column].cast(pl.String).to_list()
    else:
        loans = [f"{file.stem}-{number}" for number in range(1, len(table) + 1)]
    outcome = table[contract.outcome.column].cast(pl.String).is_in(contract.outcome.defaulted)
    empty = {name for name in table.columns if table[name].null_count() == len(table)}
    unseen = {column, *empty, *(name for name in table.columns if contract.is_known_afterwards(name))}
    X = table.select(name for name in table.columns if name not in unseen).to_pandas()
    texts = X.select_dtypes(["object", "string"]).columns
    rows = {name: number for number, name in enumerate(loans)}
    windows = {name: [rows[id_] for id_ in window.to_list()] for name, window in ids.items()}
    return X.astype(dict.fromkeys(texts, "category")), outcome.to_numpy().astype(np.int64), windows


def boost(X: pd.DataFrame, y: NDArray[np.int64], windows: Windows) -> NDArray[np.float32]:
    """Search on train and calibrate, fit both with as many rounds, and return the test loans' PDs."""

    def matrix(*names: str) -> Any:
        rows = [row for name in names for row in windows[name]]
        return xgboost.DMatrix(X.iloc[rows], y[rows], enable_categorical=True)

    train, calibrate = matrix("train"), matrix("calibrate")

    def fit(parameters: Mapping[str, Any]) -> Any:
        return xgboost.train(
            {**FIXED, **parameters},
            train,
            2_000,
            evals=[(calibrate, "calibrate")],
            early_stopping_rounds=50,
            verbose_eval=False,
        )

    def loss(trial: optuna.Trial) -> float:
        best: float = fit(
            {
                "max_depth": trial.suggest_int("max_depth", 2, 10),
                "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
                "min_child_weight": trial.suggest_float("min_child_weight", 1, 20, log=True),
                "subsample": trial.suggest_float("subsample", 0.5, 1),
                "colsample_bytree": trial.suggest_float("colsample_bytree", 0.5, 1),
                "reg_lambda": trial.suggest_float("reg_lambda", 0.1, 10, log=True),
            }
        ).best_score
        return best

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=SEED))
    study.optimize(loss, TRIALS)
    rounds = fit(study.best_params).best_iteration + 1
    booster = xgboost.train({**FIXED, **study.best_params}, matrix("train", "calibrate"), rounds)
    pds: NDArray[np.float32] = booster.predict(matrix("test"))
    return pds


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
