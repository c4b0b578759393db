# The private network: nothing in it has a public address, and nothing reaches it from outside but IAP.

resource "google_compute_network" "this" {
  name                    = "loan-default"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  name                     = "loan-default"
  network                  = google_compute_network.this.id
  region                   = var.region
  ip_cidr_range            = var.range
  private_ip_google_access = true # Google's APIs, and Cloud Run with internal ingress, without a way through the internet

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.1
    metadata             = "EXCLUDE_ALL_METADATA"
  }
}

# Out, for Debian's packages and Slack; nothing comes in through it.
resource "google_compute_router" "this" {
  name    = "loan-default"
  network = google_compute_network.this.id
  region  = var.region
}

resource "google_compute_router_nat" "this" {
  name                               = "loan-default"
  router                             = google_compute_router.this.name
  region                             = var.region
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.this.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}

# Without a rule a network lets nothing in. This one lets IAP's own addresses reach SSH, once IAP knows who asks.
resource "google_compute_firewall" "iap_ssh" {
  name                    = "loan-default-iap-ssh"
  network                 = google_compute_network.this.id
  direction               = "INGRESS"
  source_ranges           = ["35.235.240.0/20"]
  target_service_accounts = [var.platform_account]

  allow {
    protocol = "tcp"
    ports    = ["22"]
  }

  log_config {
    metadata = "INCLUDE_ALL_METADATA"
  }
}

# Cloud SQL's private address is in a network of Google's that is joined to this one.
resource "google_compute_global_address" "services" {
  name          = "loan-default-services"
  network       = google_compute_network.this.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}
