output "accounts" {
  description = "Addresses of the service accounts by service."
  value = {
    platform = google_service_account.platform.email
    mlflow   = google_service_account.mlflow.email
    scoring  = google_service_account.scoring.email
    ci       = google_service_account.ci.email
  }
}

output "members" {
  description = "The service accounts as IAM members, by service."
  value = {
    platform = google_service_account.platform.member
    mlflow   = google_service_account.mlflow.member
    scoring  = google_service_account.scoring.member
    ci       = google_service_account.ci.member
  }
}

output "names" {
  description = "The service accounts' full names, by service."
  value = {
    platform = google_service_account.platform.name
    mlflow   = google_service_account.mlflow.name
    scoring  = google_service_account.scoring.name
  }
}

output "workload_identity_provider" {
  description = "What the workflow's google-github-actions/auth step is given."
  value       = google_iam_workload_identity_pool_provider.github.name
}
