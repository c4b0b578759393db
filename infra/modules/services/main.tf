# The two services on Cloud Run. Both can be reached from the project's network only, and both ask twice who is calling:
# Cloud Run asks for an ID token of an account that may invoke them (X-Serverless-Authorization, so that Authorization is
# left to the service), and the service for its own password or token.

# --- MLflow

resource "google_cloud_run_v2_service" "mlflow" {
  name                = "mlflow"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.deletion_protection

  template {
    service_account                  = var.accounts.mlflow
    timeout                          = "300s"
    max_instance_request_concurrency = 40
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = 1 # it takes 15 s and more to start; runs would fail meanwhile
      max_instance_count = 3
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY" # the database; Google's APIs are reached directly

      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }

    containers {
      image = var.images.mlflow

      ports {
        container_port = 5000
      }

      resources {
        limits            = { cpu = "1", memory = "2Gi" }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      env {
        name  = "MLFLOW_AUTH_ADMIN_USERNAME"
        value = var.mlflow_user
      }
      env {
        name  = "MLFLOW_SERVER_ALLOWED_HOSTS"
        value = trimprefix(var.mlflow_url, "https://")
      }

      dynamic "env" {
        for_each = {
          MLFLOW_BACKEND_STORE_URI       = "mlflow-database-url"
          MLFLOW_AUTH_ADMIN_PASSWORD     = "mlflow-admin-password"
          MLFLOW_FLASK_SERVER_SECRET_KEY = "mlflow-flask-key"
        }

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = var.secrets[env.value].id
              version = var.secrets[env.value].version
            }
          }
        }
      }

      startup_probe {
        initial_delay_seconds = 5
        period_seconds        = 5
        timeout_seconds       = 4
        failure_threshold     = 36 # the first start makes the tables

        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/health"
        }
      }
    }
  }

  lifecycle {
    # .github/workflows/cd.yml deploys by digest; the image here is the first one.
    ignore_changes = [template[0].containers[0].image, client, client_version]
  }
}

resource "google_cloud_run_v2_service_iam_member" "mlflow_invokers" {
  for_each = { for service in ["platform", "scoring"] : service => var.members[service] }

  name     = google_cloud_run_v2_service.mlflow.name
  location = google_cloud_run_v2_service.mlflow.location
  role     = "roles/run.invoker"
  member   = each.value
}

# --- scoring

resource "google_cloud_run_v2_service" "scoring" {
  name                = "scoring"
  location            = var.region
  ingress             = var.scoring.ingress
  deletion_protection = var.deletion_protection

  template {
    service_account                  = var.accounts.scoring
    timeout                          = "60s"
    max_instance_request_concurrency = var.scoring.concurrency
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"

    scaling {
      min_instance_count = var.scoring.min
      max_instance_count = var.scoring.max
    }

    vpc_access {
      egress = "ALL_TRAFFIC" # MLflow takes only what comes out of this network

      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }

    containers {
      image = var.images.scoring

      ports {
        container_port = 5001
      }

      resources {
        limits            = { cpu = "1", memory = "2Gi" }
        cpu_idle          = false # it follows the alias and writes its log between requests
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = {
          LOAN_DEFAULT_ENV         = var.environment
          LOAN_DEFAULT_STORAGE     = var.storage
          LOAN_DEFAULT_HOME        = "/tmp/loan-default" # memory: nothing there is needed after a restart
          MLFLOW_TRACKING_URI      = var.mlflow_url
          MLFLOW_TRACKING_USERNAME = var.mlflow_user
        }

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = {
          MLFLOW_TRACKING_PASSWORD  = "mlflow-admin-password"
          LOAN_DEFAULT_API_TOKENS   = "api-tokens"
          LOAN_DEFAULT_ADMIN_TOKENS = "admin-tokens"
        }

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = var.secrets[env.value].id
              version = var.secrets[env.value].version
            }
          }
        }
      }

      # /health answers 200 once a version is loaded, /ping as soon as the server runs.
      startup_probe {
        initial_delay_seconds = 2
        period_seconds        = 3
        timeout_seconds       = 2
        failure_threshold     = 40

        http_get {
          path = var.scoring.waits_for_model ? "/health" : "/ping"
        }
      }

      liveness_probe {
        period_seconds    = 15
        timeout_seconds   = 5
        failure_threshold = 4

        http_get {
          path = "/ping"
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [template[0].containers[0].image, client, client_version]
  }

  # The server asks MLflow for the version in production when it starts.
  depends_on = [google_cloud_run_v2_service_iam_member.mlflow_invokers]
}

# The platform has it follow the alias; the others are those that ask for scores.
resource "google_cloud_run_v2_service_iam_member" "scoring_invokers" {
  for_each = merge({ platform = var.members.platform }, { for who in var.scoring_invokers : who => who })

  name     = google_cloud_run_v2_service.scoring.name
  location = google_cloud_run_v2_service.scoring.location
  role     = "roles/run.invoker"
  member   = each.value
}

# --- CI deploys these two, and lets them run as these two accounts; it can neither read a secret nor grant anything

resource "google_cloud_run_v2_service_iam_member" "ci_deploys" {
  for_each = {
    mlflow  = google_cloud_run_v2_service.mlflow.name
    scoring = google_cloud_run_v2_service.scoring.name
  }

  name     = each.value
  location = var.region
  role     = "roles/run.developer"
  member   = var.members.ci
}

resource "google_service_account_iam_member" "ci_runs_as" {
  for_each = { for service in ["mlflow", "scoring"] : service => var.names[service] }

  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = var.members.ci
}
