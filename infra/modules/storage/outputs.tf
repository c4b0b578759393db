output "name" {
  description = "The bucket's name."
  value       = google_storage_bucket.this.name
}

output "root" {
  description = "What LOAN_DEFAULT_STORAGE is."
  value       = "gs://${google_storage_bucket.this.name}/${var.prefix}"
}
