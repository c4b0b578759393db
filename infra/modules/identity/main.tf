# Who the services are: one account each, without key files; and how GitHub's workflows become one of them.
# What an account may do is said beside the thing that it may do it to.

resource "google_service_account" "platform" {
  account_id   = "loan-default-platform"
  display_name = "Webserver, daemon and code server of the loan-default platform"
}

resource "google_service_account" "mlflow" {
  account_id   = "loan-default-mlflow"
  display_name = "MLflow's tracking server of the loan-default platform"
}

resource "google_service_account" "scoring" {
  account_id   = "loan-default-scoring"
  display_name = "Scoring server of the loan-default platform"
}

resource "google_service_account" "ci" {
  account_id   = "loan-default-ci"
  display_name = "GitHub workflows that push images and deploy the loan-default platform"
}

# --- the only two roles on the project: entries.create and timeSeries.create exist on no smaller thing

# Docker's gcplogs driver writes what the containers print; Cloud Run needs no such right for its own.
resource "google_project_iam_member" "platform_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.platform.member
}

# Google's agent on the instance tells how full memory and disk are; the console's graphs and the disk alert read it.
resource "google_project_iam_member" "platform_metrics" {
  project = var.project_id
  role    = "roles/monitoring.metricWriter"
  member  = google_service_account.platform.member
}

# --- GitHub's workflows

resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = "github"
  display_name              = "GitHub Actions"
}

# A token counts only if this repository's workflow runs on this branch in the GitHub environment of this name; whoever
# reviews that environment's deployments in GitHub decides who gets it.
resource "google_iam_workload_identity_pool_provider" "github" {
  # checkov:skip=CKV_GCP_125:It asks for this subject and branch; checkov cannot read a condition with variables. A test does.
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  display_name                       = "GitHub Actions"
  attribute_condition                = "assertion.sub == 'repo:${var.repository}:environment:${var.environment}' && assertion.ref == '${var.ref}'"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github_is_ci" {
  service_account_id = google_service_account.ci.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/attribute.repository/${var.repository}"
}
