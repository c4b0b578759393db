# Postgres: three databases, a user for each, and the three addresses with their passwords in Secret Manager.
# It has a private address only. Services reach it there, encrypted, with a password: no right on the project is needed,
# as roles/cloudsql.client would be, which the connector asks for.

locals {
  # Who reads the address of which database.
  databases = {
    dagster = "platform"
    optuna  = "platform"
    mlflow  = "mlflow"
  }
}

resource "google_sql_database_instance" "this" {
  # checkov:skip=CKV_GCP_6:Unencrypted connections are refused. The check wants certificates of clients too; these have passwords and a private way.
  # checkov:skip=CKV2_GCP_13:Dagster asks several times a second, and each would be a line; query insights tell durations.
  name                = "loan-default"
  database_version    = var.database_version
  region              = var.region
  deletion_protection = var.deletion_protection # Terraform refuses

  settings {
    edition                     = "ENTERPRISE"
    tier                        = var.tier
    availability_type           = var.available
    disk_type                   = "PD_SSD"
    disk_size                   = 10
    disk_autoresize             = true
    disk_autoresize_limit       = 200
    deletion_protection_enabled = var.deletion_protection # Google refuses, whoever asks

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "01:00"
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = var.backups
        retention_unit   = "COUNT"
      }
    }

    maintenance_window {
      day          = 7
      hour         = 2
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
    }

    # What the CIS benchmark asks for; none of it writes a statement's values into the log.
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_connections"
      value = "on"
    }
    database_flags {
      name  = "log_disconnections"
      value = "on"
    }
    database_flags {
      name  = "log_hostname"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    database_flags {
      name  = "log_statement"
      value = "ddl"
    }
    database_flags {
      name  = "log_min_messages"
      value = "warning"
    }
    database_flags {
      name  = "log_min_error_statement"
      value = "error"
    }
    database_flags {
      name  = "log_min_duration_statement"
      value = "-1"
    }
    database_flags {
      name  = "log_temp_files"
      value = "0"
    }
    database_flags {
      name  = "cloudsql.enable_pgaudit"
      value = "on"
    }
  }
}

resource "google_sql_database" "this" {
  for_each = local.databases

  name     = each.key
  instance = google_sql_database_instance.this.name
}

# One value for the user and for the address. Both are written in one apply, and only when the generation is raised; were
# an apply cut off between the two, raise it again.
ephemeral "random_password" "this" {
  for_each = local.databases

  length  = 48
  special = false # it stands in an address
}

resource "google_sql_user" "this" {
  for_each = local.databases

  name                = each.key
  instance            = google_sql_database_instance.this.name
  password_wo         = ephemeral.random_password.this[each.key].result
  password_wo_version = lookup(var.generations, "${each.key}-database-url", 1)
  deletion_policy     = "ABANDON" # Postgres drops no user that owns tables
}

module "url" {
  source   = "../secret"
  for_each = local.databases

  id         = "${each.key}-database-url"
  region     = var.region
  readers    = { (each.value) = var.members[each.value] }
  generation = google_sql_user.this[each.key].password_wo_version
  value      = "postgresql://${each.key}:${ephemeral.random_password.this[each.key].result}@${google_sql_database_instance.this.private_ip_address}:5432/${each.key}?sslmode=require"
}
