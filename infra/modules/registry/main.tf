# Where the images are kept.

resource "google_artifact_registry_repository" "this" {
  # checkov:skip=CKV_GCP_84:Images hold no data of applicants and no secrets; Google's own keys encrypt them.
  repository_id = "loan-default"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the loan-default platform."

  docker_config {
    immutable_tags = true
  }

  vulnerability_scanning_config {
    enablement_config = "INHERITED" # found in the console once containerscanning.googleapis.com is on; CI scans anyway
  }

  # Kept: the 20 newest of each image. Services name theirs by digest and are deployed far more often than that.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "7776000s" # 90 days
    }
  }
}

resource "google_artifact_registry_repository_iam_member" "writer" {
  repository = google_artifact_registry_repository.this.name
  location   = google_artifact_registry_repository.this.location
  role       = "roles/artifactregistry.writer"
  member     = var.writer
}

# Cloud Run pulls by its own service agent; the instance pulls by its account.
resource "google_artifact_registry_repository_iam_member" "reader" {
  for_each = var.readers

  repository = google_artifact_registry_repository.this.name
  location   = google_artifact_registry_repository.this.location
  role       = "roles/artifactregistry.reader"
  member     = each.value
}
