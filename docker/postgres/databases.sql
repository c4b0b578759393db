-- Beside `dagster`, which the image makes. Each keeps its own migrations, in tables of the same names.
CREATE DATABASE mlflow;
CREATE DATABASE optuna;
