output "registry" {
  description = "What the names of images begin with."
  value       = module.registry.url
}

output "storage" {
  description = "LOAN_DEFAULT_STORAGE: batches go into applications/ under it, outcomes into outcomes/."
  value       = module.storage.root
}

output "mlflow_url" {
  description = "Where MLflow answers, from the project's network."
  value       = local.url.mlflow
}

output "scoring_url" {
  description = "Where the scoring server answers, from the project's network."
  value       = local.url.scoring
}

output "instance" {
  description = "The instance with the Dagster services; null before the second apply."
  value       = one(module.platform[*].instance)
}

output "dagster_tunnel" {
  description = "The command that brings the Dagster UI to http://127.0.0.1:3000 of an operator's machine."
  value       = "gcloud compute ssh loan-default --project=${var.project_id} --zone=${var.zone} --tunnel-through-iap -- -N -L 3000:127.0.0.1:3000"
}

output "ci_account" {
  description = "For the GitHub environment: the variable GCP_SERVICE_ACCOUNT."
  value       = module.identity.accounts.ci
}

output "ci_workload_identity_provider" {
  description = "For the GitHub environment: the variable GCP_WORKLOAD_IDENTITY_PROVIDER."
  value       = module.identity.workload_identity_provider
}
