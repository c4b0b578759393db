# One instance with webserver, daemon and code server: docker/compose.yaml with docker/compose.cloud.yaml on Debian.
# Nothing on it has to outlive it: runs and events are in Postgres, files in the bucket. It may be made anew at any time.

resource "google_compute_instance" "this" {
  # checkov:skip=CKV_GCP_38:No applicant's data stays on the disk, and no secret; Google's own keys encrypt it.
  # checkov:skip=CKV_GCP_37:The same, for the disk itself.
  name                      = "loan-default"
  zone                      = var.zone
  machine_type              = var.machine_type
  deletion_protection       = var.deletion_protection
  allow_stopping_for_update = true

  boot_disk {
    initialize_params {
      image = "debian-cloud/debian-13"
      size  = 60
      type  = "pd-balanced"
    }
  }

  # No access_config: the instance has no public address.
  network_interface {
    subnetwork = var.subnetwork
  }

  shielded_instance_config {
    enable_secure_boot          = true
    enable_vtpm                 = true
    enable_integrity_monitoring = true
  }

  service_account {
    email  = var.account
    scopes = ["cloud-platform"] # what it may do is said by IAM alone
  }

  scheduling {
    automatic_restart   = true
    on_host_maintenance = "MIGRATE"
  }

  # Secrets are named here, and never their values: whoever may look at the instance sees this.
  metadata = {
    enable-oslogin                  = "TRUE"
    block-project-ssh-keys          = "TRUE"
    serial-port-enable              = "FALSE"
    startup-script                  = file("${path.module}/start.sh")
    loan-default-compose-yaml       = file("${var.docker}/compose.yaml")
    loan-default-compose-cloud-yaml = file("${var.docker}/compose.cloud.yaml")
    loan-default-workspace-yaml     = file("${var.docker}/workspace.yaml")
    loan-default-image              = var.image
    loan-default-settings           = join("\n", [for name, value in var.settings : "${name}=${value}"])
    loan-default-secrets            = join("\n", [for name, secret in var.secrets : "${name}=${secret.id}/${secret.version}"])
  }

  lifecycle {
    ignore_changes = [boot_disk[0].initialize_params[0].image] # a new Debian release is a decision; see docs/deploy.md
  }
}

# --- the people who may reach it: IAP lets them through to SSH, and OS Login lets them in

resource "google_iap_tunnel_instance_iam_member" "operators" {
  for_each = toset(var.operators)

  instance = google_compute_instance.this.name
  zone     = google_compute_instance.this.zone
  role     = "roles/iap.tunnelResourceAccessor"
  member   = each.value
}

resource "google_compute_instance_iam_member" "operators" {
  for_each = toset(var.operators)

  instance_name = google_compute_instance.this.name
  zone          = google_compute_instance.this.zone
  role          = "roles/compute.osAdminLogin"
  member        = each.value
}

# Who is on the instance can act as its account; OS Login asks for this right.
resource "google_service_account_iam_member" "operators" {
  for_each = toset(var.operators)

  service_account_id = var.account_name
  role               = "roles/iam.serviceAccountUser"
  member             = each.value
}
