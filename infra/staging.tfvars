# Staging: one project of its own, small, and `make terraform-destroy ENV=staging` may take it down. No secrets here.
environment = "staging"
project_id  = "loan-default-staging"
region      = "europe-west3"
zone        = "europe-west3-a"

bucket_name         = "loan-default-staging-data"
deletion_protection = false

database_tier      = "db-custom-1-3840"
database_available = "ZONAL"

scoring_instances = { min = 1, max = 2 }

github_repository = "example/loan-default"
operators         = ["group:ml-platform@example.com"]
scoring_invokers  = []

billing_account = "000000-000000-000000"
monthly_budget  = { amount = 300, currency = "EUR" }
alert_emails    = ["ml-platform@example.com"]
