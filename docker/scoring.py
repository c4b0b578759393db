"""Import what the scoring server does: its image is not built where something is missing, and keeps the bytecode."""

from importlib import import_module

for name in (
    *("loan_default.cli.__main__", "loan_default.cli.servers", "loan_default.operations.scoring_server"),
    *("loan_default.serving.server", "loan_default.serving.app", "loan_default.serving.follower"),
    *("loan_default.serving.connection", "loan_default.serving.prediction_log", "loan_default.risk.data.loan_files"),
    *("loan_default.serving.decisions", "loan_default.operations.decisions"),
    *("uvicorn.supervisors", "uvicorn.lifespan.on", "uvloop", "httptools", "onnxruntime", "xgboost", "skops.io"),
    *("sklearn.linear_model", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.impute"),
    *("loan_default.serving.request_spans", "opentelemetry.exporter.otlp.proto.http.trace_exporter"),
    *("mlflow", "mlflow.artifacts", "mlflow.pyfunc.scoring_server", "google.cloud.storage"),
    *("mlflow.store.artifact.gcs_artifact_repo", "mlflow.store.artifact.models_artifact_repo"),
):
    import_module(name)
