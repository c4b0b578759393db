output "id" {
  description = "The secret's name."
  value       = google_secret_manager_secret.this.secret_id
}

output "version" {
  description = "The version that services use; null where there is none yet."
  value       = var.pinned != null ? var.pinned : one(google_secret_manager_secret_version.this[*].version)
  depends_on  = [google_secret_manager_secret_iam_member.reader]
}
