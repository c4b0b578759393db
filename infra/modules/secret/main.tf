# One secret: where it is kept, its value where Terraform makes it, and who may read it.
# Values are ephemeral and written by write-only arguments, so they are neither in a plan nor in the state.

ephemeral "random_password" "this" {
  length  = 48
  special = false
}

resource "google_secret_manager_secret" "this" {
  secret_id = var.id

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret_version" "this" {
  count = var.generation == null ? 0 : 1

  secret                 = google_secret_manager_secret.this.id
  secret_data_wo         = var.value == null ? ephemeral.random_password.this.result : var.value
  secret_data_wo_version = var.generation
  deletion_policy        = "DISABLE" # the one before is switched off, and can be had back

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = var.readers

  secret_id = google_secret_manager_secret.this.id
  role      = "roles/secretmanager.secretAccessor"
  member    = each.value
}
