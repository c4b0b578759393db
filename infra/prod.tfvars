# Production: one project of its own; nothing in it can be destroyed before deletion_protection is lifted. No secrets here.
environment = "prod"
project_id  = "loan-default-prod"
region      = "europe-west3"
zone        = "europe-west3-a"

bucket_name         = "loan-default-prod-data"
deletion_protection = true

database_tier      = "db-custom-2-7680"
database_available = "REGIONAL"

scoring_instances = { min = 2, max = 10 }

github_repository = "example/loan-default"
operators         = ["group:ml-platform@example.com"]
scoring_invokers  = ["serviceAccount:loan-origination@example-origination.iam.gserviceaccount.com"]

billing_account = "000000-000000-000000"
monthly_budget  = { amount = 900, currency = "EUR" }
alert_emails    = ["ml-platform@example.com"]
