# The bucket. What ages out and what moves to a colder class goes by prefix, that is by what the platform keeps there:
#
#   applications/ outcomes/                    what the lender dropped into the inbox
#   application_batch/ application_report/ rejected_applications/ predictions/       what became of a batch
#   drift_report/<batch>.json                  verdicts; sensors read them, so they stay
#   drift_report/<batch>.sample.parquet        rows that Evidently's report shows (.html, .evidently.json of earlier releases)
#   evidently/                                 these reports, drawn when somebody opens one
#   compute_logs/                              what runs printed
#   mlflow/                                    models, plots, model cards
#   history/ prediction_history/               evidence: who decided on versions, what each predicted
#   prediction_log/                            what each applicant was told, kept as long as the law asks
#   *.parquet, *.json, *.md                    assets without partitions, replaced by each run
#
# Models and evidence have no rule that deletes. loan_default_tests/test_infra.py holds the rules against the code's names.

locals {
  models = "${var.prefix}/mlflow/"
  log    = "${var.prefix}/prediction_log/"
}

resource "google_storage_bucket" "this" {
  # checkov:skip=CKV_GCP_62:Cloud Audit Logs tell who read or wrote what; access logs would need a second bucket.
  name                        = var.name
  location                    = var.region
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  # What was deleted, with all its versions, can be had back for 30 days.
  soft_delete_policy {
    retention_duration_seconds = 2592000
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]

    content {
      default_kms_key_name = encryption.value
    }
  }

  # --- reports and logs age out

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.report_days
      matches_prefix = ["${var.prefix}/drift_report/"]
      matches_suffix = [".sample.parquet", ".html", ".evidently.json"]
      with_state     = "LIVE"
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.report_days
      matches_prefix = ["${var.prefix}/evidently/"]
      with_state     = "LIVE"
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.log_days
      matches_prefix = ["${var.prefix}/compute_logs/"]
      with_state     = "LIVE"
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = var.decision_days
      matches_prefix = ["${var.prefix}/prediction_log/"]
      with_state     = "LIVE"
    }
  }

  # --- data that is hardly read any more goes to colder classes
  # prediction_history/ and outcomes/ are not among it: performance_job reads all of them, each day.

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "NEARLINE"
    }

    condition {
      age                   = 90
      matches_storage_class = ["STANDARD"]
      matches_prefix = [
        "${var.prefix}/applications/",
        "${var.prefix}/application_batch/",
        "${var.prefix}/rejected_applications/",
        "${var.prefix}/predictions/",
        "${var.prefix}/prediction_log/",
      ]
    }
  }

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }

    condition {
      age                   = 365
      matches_storage_class = ["NEARLINE"]
      matches_prefix = [
        "${var.prefix}/applications/",
        "${var.prefix}/application_batch/",
        "${var.prefix}/rejected_applications/",
        "${var.prefix}/prediction_log/",
      ]
    }
  }

  # --- old versions of what runs replace; those of models and evidence stay

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      num_newer_versions         = 3
      with_state                 = "ARCHIVED"
      matches_prefix = [
        "${var.prefix}/application_batch/",
        "${var.prefix}/application_report/",
        "${var.prefix}/rejected_applications/",
        "${var.prefix}/predictions/",
        "${var.prefix}/drift_report/",
        "${var.prefix}/cleaned_loans.parquet",
        "${var.prefix}/rejected_loans.parquet",
        "${var.prefix}/loan_outcomes.parquet",
        "${var.prefix}/rejected_outcomes.parquet",
      ]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    # What aged out above, or was deleted by the platform: its last version goes too.
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
      matches_prefix = [
        "${var.prefix}/compute_logs/",
        "${var.prefix}/prediction_log/",
        "${var.prefix}/evidently/",
        "${var.prefix}/.doctor-",
      ]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
      matches_prefix             = ["${var.prefix}/drift_report/"]
      matches_suffix             = [".sample.parquet", ".html", ".evidently.json"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }

    condition {
      age = 7
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# --- Cloud Storage itself encrypts with the key

data "google_storage_project_service_account" "this" {}

resource "google_kms_crypto_key_iam_member" "storage" {
  count = var.kms_key == null ? 0 : 1

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = data.google_storage_project_service_account.this.member
}

# --- who reads and writes what
# Managed folders carry rights of their own, so that listing a folder works too; a condition on names would not allow it.

resource "google_storage_managed_folder" "models" {
  bucket        = google_storage_bucket.this.name
  name          = local.models
  force_destroy = !var.deletion_protection
}

resource "google_storage_managed_folder" "log" {
  bucket        = google_storage_bucket.this.name
  name          = local.log
  force_destroy = !var.deletion_protection
}

# The platform reads and replaces assets everywhere in the bucket; it cannot change the bucket, its rules or who may read.
resource "google_storage_bucket_iam_member" "platform" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectUser"
  member = var.platform_member
}

# Dagster's GCSComputeLogManager looks whether the bucket exists when it starts, which is storage.buckets.get.
resource "google_storage_bucket_iam_member" "platform_looks" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.legacyBucketReader"
  member = var.platform_member
}

# The tracking server shows artifacts; clients write them into the bucket themselves.
resource "google_storage_managed_folder_iam_member" "mlflow_reads_models" {
  bucket         = google_storage_bucket.this.name
  managed_folder = google_storage_managed_folder.models.name
  role           = "roles/storage.objectViewer"
  member         = var.mlflow_member
}

resource "google_storage_managed_folder_iam_member" "scoring_reads_models" {
  bucket         = google_storage_bucket.this.name
  managed_folder = google_storage_managed_folder.models.name
  role           = "roles/storage.objectViewer"
  member         = var.scoring_member
}

# It adds files under new names, and can neither read, replace nor delete what was logged.
resource "google_storage_managed_folder_iam_member" "scoring_writes_log" {
  bucket         = google_storage_bucket.this.name
  managed_folder = google_storage_managed_folder.log.name
  role           = "roles/storage.objectCreator"
  member         = var.scoring_member
}
