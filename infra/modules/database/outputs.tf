output "instance" {
  description = "The Cloud SQL instance's name."
  value       = google_sql_database_instance.this.name
}

output "secrets" {
  description = "The secrets with the addresses, by database: name and version."
  value       = { for database, secret in module.url : database => { id = secret.id, version = secret.version } }
}
