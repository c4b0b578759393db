output "network" {
  description = "The network's id, once Cloud SQL can have an address in it."
  value       = google_compute_network.this.id
  depends_on  = [google_service_networking_connection.services]
}

output "subnetwork" {
  description = "The subnet's id."
  value       = google_compute_subnetwork.this.id
}
