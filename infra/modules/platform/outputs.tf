output "instance" {
  description = "The instance's name."
  value       = google_compute_instance.this.name
}
